"""Pieces of work in this process or on the workers of a Dask cluster, in order and with the same result.

Inside a process the kernels run on threads; this module is about what lies above: restarts of a fit,
generations of CMA-ES, folds, runs of a study. Code hands its pieces to :func:`ordered_map` (or, with a task
and its journal, to :func:`discover.spread.spread`) and does not know where they run.

Pieces go through joblib: its sequential backend in this process, its Dask backend on a cluster. The scheduler
gives what a lost worker was at to another one, up to its setting ``distributed.scheduler.allowed-failures``
(three times), which is for workers that die and not for errors: a piece that fails would fail again. Each
piece is serialised here, by Dask's own protocol, into bytes that travel with the call: joblib would scatter
larger arguments to a single worker, and they would be lost with it. Every piece has its own seeds and results
are put in the order of the pieces, so that neither the number of workers nor their fate shows in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from discover.errors import ClusterLost
from discover.user_tasks import NamedFile, load_named, named_files

__all__ = ["BACKENDS", "LOCAL", "Backend", "active", "dask_backend", "ordered_map"]

BACKENDS = ("local", "dask")

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Backend:
    """Where pieces of work run.

    Parameters
    ----------
    client : distributed.Client, optional
        Connection to a cluster; None for this process.
    address : str
        Of the scheduler.
    """

    client: Any = None
    address: str = ""

    @property
    def is_local(self) -> bool:
        """Whether pieces run in this process."""
        return self.client is None

    @property
    def n_workers(self) -> int:
        """How many pieces run at a time; at least one."""
        return 1 if self.is_local else max(1, sum(self.client.ncores().values()))


LOCAL = Backend()

_ACTIVE: ContextVar[Backend] = ContextVar("discover-backend", default=LOCAL)


def active() -> Backend:
    """Return where pieces of work run now; inside a piece that is always its own process."""
    return _ACTIVE.get()


@contextmanager
def dask_backend(
    address: str,
    note: Callable[[str], None],
    prepare: tuple[Any, Any] | None = None,
    patience_s: float = 30.0,
) -> Iterator[Backend]:
    """Run pieces of work on the workers of a Dask cluster.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://host:8786``, or the JSON file in which it wrote it.
    note : callable
        Told what a person should know.
    prepare : tuple of Task and settings, optional
        Task whose kernels every worker should have before it gets work, those too that join later.
    patience_s : float
        Seconds to wait for a first worker.

    Raises
    ------
    ClusterError
        If Dask is not installed, nothing answers at the address, no worker is there, or a worker has other
        code than this process.
    ClusterLost
        If the scheduler is lost before the end.
    """
    from discover.dask_cluster import connected

    with connected(address, note, prepare, patience_s) as client:
        token = _ACTIVE.set(Backend(client, address))
        try:
            yield active()
        finally:
            _ACTIVE.reset(token)


def ordered_map(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    arrived: Callable[[int, Result], None] | None = None,
) -> list[Result]:
    """Return what some work gives for each item, in the order of the items.

    Parameters
    ----------
    work : callable
        For a cluster a function of a module, and items that can be serialised.
    items : sequence
    arrived : callable, optional
        Called in this process with the position and the result of each item as soon as it is there, in
        whatever order.

    Raises
    ------
    ClusterLost
        If the scheduler, or one worker after another, is lost.

    Examples
    --------
    >>> ordered_map(abs, [-3, 2, -1])
    [3, 2, 1]
    """
    import joblib

    backend, results = active(), {}
    if backend.is_local:
        options: dict[str, Any] = {"backend": "sequential"}
        calls = (joblib.delayed(_numbered)(n, work, item) for n, item in enumerate(items))
    else:
        from distributed.protocol.serialize import serialize_bytes

        from discover._dask_classes import ClusterBackend

        options = {"backend": ClusterBackend(client=backend.client)}
        files = named_files()
        parcels = ((n, serialize_bytes((work, item))) for n, item in enumerate(items))
        calls = (joblib.delayed(_opened)(n, files, parcel) for n, parcel in parcels)
    with joblib.parallel_config(**options), _losses_told(backend):
        run = joblib.Parallel(batch_size=1, pre_dispatch="all", return_as="generator_unordered")
        for number, result in run(calls):
            results[number] = result
            if arrived is not None:
                arrived(number, result)
    return [results[number] for number in range(len(items))]


def _numbered(number: int, work: Callable[[Item], Result], item: Item) -> tuple[int, Result]:
    return number, work(item)


def _opened(number: int, files: tuple[NamedFile, ...], parcel: bytes) -> tuple[int, Any]:
    """Do a piece of work on a worker."""
    import joblib
    from distributed.protocol.serialize import deserialize_bytes

    for file in files:
        load_named(file)  # before anything of it is met in the parcel
    work, item = deserialize_bytes(parcel)
    # joblib would send what libraries run in parallel to the cluster again.
    with joblib.parallel_config(backend="sequential"):
        return number, work(item)


@contextmanager
def _losses_told(backend: Backend) -> Iterator[None]:
    """Turn the errors of a lost cluster into one paragraph."""
    if backend.is_local:
        yield
        return
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise ClusterLost(
            f"Workers of the Dask cluster at {backend.address} died one after the other at the same piece of "
            "work. Mostly they run out of memory: give them more, or fewer threads each; their log says why."
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise ClusterLost(f"The Dask scheduler at {backend.address} was lost.") from error
