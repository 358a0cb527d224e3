"""An estimator with the conventions of scikit-learn around the inference of rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from discover.errors import ConfigError
from discover.expression import evaluate
from discover.inference.laws import Inference, infer
from discover.inference.path import DataPath
from discover.inference.recordings import from_rows
from discover.inference.settings import InferSettings
from discover.inference.verdict import Verdict
from discover.pareto import ParetoFront
from discover.rule import Rule
from discover.search.settings import Operator
from discover.slots import recorded_slot
from discover.stored import adapter, complaint

__all__ = ["RuleRegressor"]

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)


class RuleRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A plasticity rule as a regressor: a formula for the update in the columns of X.

    Where y has several columns each gets a rule of its own, in `inferences_`; `rule_`, `front_`, `path_` and
    `verdict_` are those of the first.

    Parameters
    ----------
    engines : sequence of str
        Engines of the symbolic search, by default those of the command line; none, ``()``, for the
        polynomials of the L1 path alone, which takes a few seconds less.
    variables : sequence of str, optional
        What the columns are called in the rule, such as ``("x", "y", "w")``. By default the names of the
        columns, where they are plain, else ``x0, x1, ...``. A data frame needs none; where they are given
        they must be the names of its columns, in any order.
    degree : int
        Largest power of a variable in the polynomial basis.
    heldout : float
        Share of the recordings that are kept out of the search altogether; :meth:`score` is for the others.
    settings : InferSettings, optional
        All further settings; `degree`, `heldout` and `random_state` take the place of what it says there.
    random_state : int
        Seed of the search.
    max_terms, max_nodes, operators, resolution, folds, permutations, functions
        What grid searches most often change of the settings, see
        :class:`~discover.inference.settings.InferSettings` and, for `max_nodes` and `operators`,
        :class:`~discover.search.settings.SearchSettings`. None leaves what `settings` says.

    Attributes
    ----------
    rule_ : Rule
        The chosen rule; where there are several targets, that of the first one.
    front_ : ParetoFront
        Complexity against the error on recordings that were left out.
    path_ : DataPath
    verdict_ : Verdict
        Whether the recordings support the rule; where ``verdict_.supported`` is false there is none, and
        :meth:`predict` is not to be trusted.
    inferences_ : tuple of Inference
        One a target, with its name where y is a data frame. Where there are several, the four attributes
        above are those of the first.
    targets_ : tuple of str
        Names of the targets; empty where y has one column or is no data frame.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X had column names.
    variables_ : tuple of str
        What the columns are called in the rule, in their order.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> x, y, w = X.T
    >>> model = RuleRegressor(engines=(), variables=("x", "y", "w")).fit(X, x * y - w * y**2)
    >>> print(model.rule_)
    x*y - w*y**2
    """

    def __init__(
        self,
        engines: Sequence[str] = ("auto",),
        variables: Sequence[str] | None = None,
        degree: int = 2,
        heldout: float = 0.0,
        settings: InferSettings | None = None,
        random_state: int = 0,
        *,
        max_terms: int | None = None,
        max_nodes: int | None = None,
        operators: Sequence[Operator] | None = None,
        resolution: float | None = None,
        folds: int | None = None,
        permutations: int | None = None,
        functions: Sequence[str] | None = None,
    ) -> None:
        self.engines = engines
        self.variables = variables
        self.degree = degree
        self.heldout = heldout
        self.settings = settings
        self.random_state = random_state
        self.max_terms = max_terms
        self.max_nodes = max_nodes
        self.operators = operators
        self.resolution = resolution
        self.folds = folds
        self.permutations = permutations
        self.functions = functions

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> RuleRegressor:
        """Infer the rule.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_targets)
            The update; of many targets each gets a rule of its own.
        groups : array_like, shape (n_samples,), optional
            Recording of every sample; contiguous blocks of samples stand for recordings without.
        sample_weight : array_like, shape (n_samples,), optional
            How much the squared error of every sample counts; samples with the weight 0 are left out.

        Raises
        ------
        ValueError
            If there are fewer than two samples or recordings, values are not finite, shapes do not fit, or
            `variables` are not the names of a data frame's columns.
        """
        try:
            checked = validate_data(
                self, X, y, dtype=np.float64, y_numeric=True, multi_output=True, ensure_min_samples=2
            )
        except ValueError:
            _say_what_is_not_finite({"X": X, "y": y}, self.variables)
            raise
        inputs, targets = (np.asarray(array, dtype=np.float64) for array in checked)
        names = self._names(inputs.shape[1])
        settings = self._settings()
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, inputs)
        labels = _labels(groups, len(targets))
        columns = list(targets.T) if targets.ndim == 2 else [targets]
        own = tuple(str(name) for name in getattr(y, "columns", ()))
        self.targets_: tuple[str, ...] = own if len(own) == len(columns) > 1 else ()
        self.inferences_: tuple[Inference, ...] = tuple(
            replace(
                infer(
                    from_rows(names, inputs, target, labels, settings.blocks, weights),
                    settings,
                    tuple(self.engines),
                ),
                target=called,
            )
            for target, called in zip(columns, self.targets_ or [""] * len(columns), strict=True)
        )
        found = self.inferences_[0]
        self._many = targets.ndim == 2
        self.variables_: tuple[str, ...] = names
        self.rule_: Rule = found.rule
        self.front_: ParetoFront = found.front
        self.path_: DataPath = found.path
        self.verdict_: Verdict = found.verdict
        return self

    def latex(self, digits: int = 4) -> str:
        """Return the rule as LaTeX, without a learning rate; of many targets a line each, by name."""
        check_is_fitted(self)
        return "\n".join(one.latex(digits) for one in self.inferences_)

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the update by the rule, of the shape that the target had in :meth:`fit`."""
        check_is_fitted(self)
        try:
            columns = np.asarray(validate_data(self, X, dtype=np.float64, reset=False))
        except ValueError:
            _say_what_is_not_finite({"X": X}, self.variables_)
            raise
        values = {name: columns[:, k] for k, name in enumerate(self.variables_)}
        found = [evaluate(one.rule.expression(), values) for one in self.inferences_]
        return np.column_stack(found) if self._many else found[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _names(self, n_features: int) -> tuple[str, ...]:
        own = [str(name) for name in getattr(self, "feature_names_in_", ())]
        if self.variables is not None:
            names = tuple(self.variables)
            if len(names) != n_features:
                raise ValueError(f"X has {n_features} features, and variables has {len(names)} names.")
            if own and sorted(own) != sorted(names):
                raise ConfigError(
                    f"The columns of X are called {_listed(own)}, and variables says {_listed(names)}. Leave "
                    "variables out, and the rule has the names of the columns; for other names rename the "
                    "columns, or hand over X.to_numpy(), whose columns are taken in their order."
                )
            names = tuple(own) if own else names
        else:
            plain = len(own) == n_features and all(_IDENTIFIER.fullmatch(name) for name in own)
            names = tuple(own) if plain else tuple(f"x{k}" for k in range(n_features))
        recorded_slot(names)
        return names

    def _settings(self) -> InferSettings:
        settings = self.settings or InferSettings()
        search = replace(settings.search, **self._given("max_nodes", "operators"))
        settings = replace(
            settings,
            degree=self.degree,
            heldout=self.heldout,
            seed=int(self.random_state or 0),
            search=search,
            **self._given("max_terms", "resolution", "folds", "permutations", "functions"),
        )
        try:
            checked: InferSettings = adapter(InferSettings).validate_python(asdict(settings))
        except ValidationError as error:
            raise ConfigError(f"{type(self).__name__} cannot be fitted so: {complaint(error)}.") from None
        return checked

    def _given(self, *names: str) -> dict[str, Any]:
        """Return the parameters that are not None."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:40] for name in names[:12]) + (", ..." if len(names) > 12 else "")


def _say_what_is_not_finite(given: Mapping[str, Any], variables: Sequence[str] | None) -> None:
    """Raise an error that names the first value that is not finite, where there is one."""
    for what, array in given.items():
        if np.iscomplexobj(array):
            continue
        try:
            values = np.asarray(array, dtype=np.float64)
        except (TypeError, ValueError):
            continue
        bad = np.argwhere(~np.isfinite(values)) if values.ndim in (1, 2) else np.empty((0, 1), dtype=int)
        if not len(bad):
            continue
        row, column = int(bad[0][0]), int(bad[0][-1])
        own = [str(name) for name in getattr(array, "columns", (variables or ()) if what == "X" else ())]
        known = values.ndim == 2 and len(own) == values.shape[1]
        named = f"column {own[column][:60]!r}" if known else f"column {column + 1}"
        where = f"{row + 1}, {named}" if values.ndim == 2 else f"{row + 1}"
        many = "values that are" if len(bad) > 1 else "value that is"
        raise ConfigError(
            f"{what} has {len(bad)} {many} NaN or infinite, the first in data row {where}. Take these rows "
            "out, or fill the gaps yourself: no guess is made here."
        )


def _labels(groups: ArrayLike | None, n_samples: int) -> NDArray[np.str_] | None:
    """Return the recordings' names."""
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n_samples,):
        raise ValueError(
            f"groups needs the shape ({n_samples},), one recording a sample, got {labels.shape}."
        )
    return labels.astype(np.str_)
