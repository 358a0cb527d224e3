"""Where the pieces of a run or a study are done, as the command line asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from discover.errors import ConfigError, did_you_mean
from pipelines.events import Reporter

__all__ = ["Where"]


@dataclass(frozen=True)
class Where:
    """What ``--backend`` and ``--scheduler`` say.

    Parameters
    ----------
    backend : str
        ``local`` or ``dask``.
    scheduler : str
        Address of the Dask scheduler, or the file in which it wrote it.

    Raises
    ------
    ConfigError
        If there is no such backend, or the address is missing or has no use.
    """

    backend: str = "local"
    scheduler: str = ""

    def __post_init__(self) -> None:
        from discover.parallel import BACKENDS

        if self.backend not in BACKENDS:
            raise ConfigError(
                f"--backend: there is no {self.backend[:40]!r}.{did_you_mean(self.backend, BACKENDS)} "
                f"Backends: {', '.join(BACKENDS)}."
            )
        if self.backend == "dask" and not self.scheduler:
            raise ConfigError(
                "--backend dask needs the address of a scheduler: --scheduler tcp://HOST:8786. "
                "`dask scheduler` starts one and prints it."
            )
        if self.backend == "local" and self.scheduler:
            raise ConfigError("--scheduler has a use with --backend dask only; give both or neither.")

    @contextmanager
    def at_work(self, reporter: Reporter, prepare: tuple[Any, Any] | None = None) -> Iterator[None]:
        """Do the pieces of what runs inside there.

        Parameters
        ----------
        reporter : Reporter
        prepare : tuple of Task and settings, optional
            See :func:`discover.parallel.dask_backend`.

        Raises
        ------
        ClusterError
            If the cluster cannot be used.
        """
        if self.backend == "local":
            yield
            return
        from discover.parallel import dask_backend

        with dask_backend(self.scheduler, reporter.note, prepare) as backend:
            reporter.note(f"at work on {backend.n_workers} threads of Dask workers ({self.scheduler})")
            yield
