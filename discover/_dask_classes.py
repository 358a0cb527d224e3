"""The classes that Dask and joblib ask for; imported only where a cluster is used."""

from __future__ import annotations

import hashlib
from typing import Any

from distributed import WorkerPlugin
from joblib._dask import DaskDistributedBackend

from discover.dask_cluster import prepare_worker
from discover.user_tasks import NamedFile

__all__ = ["ClusterBackend", "KernelPlugin"]


class ClusterBackend(DaskDistributedBackend):  # type: ignore[misc]
    """joblib's Dask backend, also for a cluster that has a single thread now.

    joblib would take such a cluster for no parallelism at all and do the work in this process; but more
    workers may be on their way, and one worker may be the larger machine.
    """

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Number of pieces at a time, as joblib sees it."""
        return max(2, int(super().effective_n_jobs(n_jobs)))


class KernelPlugin(WorkerPlugin):  # type: ignore[misc]
    """Compiles the kernels of a task on every worker.

    Parameters
    ----------
    files : tuple of NamedFile
        Files of tasks that the user named.
    parcel : bytes
        Task and settings, serialised.
    """

    def __init__(self, files: tuple[NamedFile, ...], parcel: bytes) -> None:
        self.files = files
        self.parcel = parcel
        self.name = f"plasticity-discovery-{hashlib.sha256(parcel).hexdigest()[:16]}"

    def setup(self, worker: Any) -> None:
        """See :class:`distributed.WorkerPlugin`."""
        prepare_worker(self.files, self.parcel)
