"""Engine ``terms``: short sums of products of one-variable factors.

Nearly every published rule has this form. A beam search over a dictionary of products finds which ones, the
constants inside the factors are fitted on all rows, and round numbers are taken where the data allow it.
Forms that nest, such as tanh(x*y), are outside its reach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from discover.errors import EngineError
from discover.expression import Node, const
from discover.progress import Progress, silent
from discover.search import _term_beam as beam_search
from discover.search._front import EXACT, front
from discover.search._term_fit import Sum, fit, rounded, to_expression, without_weakest
from discover.search._term_library import Dictionary, build_dictionary, make_factors, read_templates
from discover.search.engine import Availability, Proposal, Samples, SearchSettings
from discover.search.settings import TermsSettings

__all__ = ["TermsEngine"]

_N_EXCHANGED = 5
_PLAIN_SHARE = 0.2


class TermsEngine:
    """The product-term search; it needs NumPy and SciPy only, so it runs everywhere."""

    name = "terms"

    def availability(self) -> Availability:
        """Return that it is usable."""
        return Availability(self.name, usable=True, version=f"NumPy {np.__version__}")

    def propose(
        self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress = silent
    ) -> list[Proposal]:
        """Return the front of the product-term search.

        Parameters
        ----------
        samples : Samples
        settings : SearchSettings
            ``operators``, ``max_nodes`` and ``terms`` are used.
        seed : int
            Decides which rows the beam search looks at.
        progress : callable, optional

        Returns
        -------
        list of Proposal

        Raises
        ------
        EngineError
            If the factor library cannot be read, makes too many products, or none is defined on the samples.

        Examples
        --------
        >>> states = np.random.default_rng(0).uniform(0.1, 1.0, (200, 3))
        >>> x, y, w = states.T
        >>> samples = Samples(("x", "y", "w"), states, x * y - 0.5 * w * y**2)
        >>> best = TermsEngine().propose(samples, SearchSettings(), seed=0)[-1]
        >>> str(best.expression)
        'x*y - 0.5*w*y**2'
        """
        # One thread: sums in another order could turn a near tie.
        with threadpool_limits(1):
            sums = _Search(samples, settings, seed, progress).run()
        progress(1.0, "done")
        mean = const(float(samples.target.mean()))
        return front([*sums, mean], samples, self.name, settings.max_nodes, settings.complexity_of)


class _Search:
    def __init__(self, samples: Samples, settings: SearchSettings, seed: int, progress: Progress) -> None:
        self.samples = samples
        self.settings: TermsSettings = settings.terms
        self.progress = progress
        templates = read_templates(self.settings.factors, settings.operators)
        self.factors = make_factors(samples, templates)
        if not self.factors:
            raise EngineError("No factor of the product-term library is defined and varies on these samples.")
        self.rows = samples.subset(self.settings.max_rows, seed)
        self.fitted: dict[tuple[tuple[int, ...], ...], Sum | None] = {}

    def run(self) -> list[Node]:
        norm = np.linalg.norm(self.rows.target)
        if norm == 0:
            return [const(0.0)]
        target = (self.rows.target / norm).astype(np.float32)
        self.progress(0.0, "building the dictionary of products")
        dictionary = build_dictionary(self.rows, self.factors, self.settings.max_factors)
        # Sums without inner constants are searched by themselves too: the others crowd them out of the beam.
        self.search(dictionary.without_constants(), target, "plain ")
        self.search(dictionary, target, "")
        sums = [fitted for fitted in self.fitted.values() if fitted is not None]
        rounds = [rounded(self.samples, self.factors, fitted) for fitted in sums]
        return [to_expression(self.factors, fitted) for fitted in (*sums, *rounds)]

    def search(self, dictionary: Dictionary, target: NDArray[np.float32], kind: str) -> None:
        width = self.settings.beam_width
        beam: list[beam_search.Support] = []
        for n_terms in range(1, self.settings.max_terms + 1):
            begun = (n_terms - 1) / self.settings.max_terms
            fraction = _PLAIN_SHARE * begun if kind else _PLAIN_SHARE + (1 - _PLAIN_SHARE) * begun
            self.progress(fraction, f"{kind}sums of {n_terms} products")
            if n_terms == 1:
                beam = beam_search.start(dictionary, target, width)
            else:
                beam = beam_search.expand(dictionary, target, beam, width)
                beam = beam_search.exchange(dictionary, target, beam[:_N_EXCHANGED], width)
            if not beam or self.refine(dictionary, beam) <= EXACT:
                return

    def refine(self, dictionary: Dictionary, beam: list[beam_search.Support]) -> float:
        """Fit the best supports of a beam on all rows, and the same without their weakest product."""
        best = np.inf
        for support in beam[: self.settings.n_refined]:
            products = tuple(dictionary.products[k] for k in support.columns)
            fitted = self.fit(Sum(products, tuple(dictionary.constants[list(support.columns)].tolist())))
            if fitted is not None:
                best = min(best, fitted.error)
                if len(products) > 1:
                    self.fit(without_weakest(self.samples, self.factors, fitted))
        return best

    def fit(self, start: Sum) -> Sum | None:
        if start.products not in self.fitted:
            self.fitted[start.products] = fit(self.samples, self.factors, start)
        return self.fitted[start.products]
