"""What Dask runs on a worker when it joins, or before the first work: compile the kernels."""

from __future__ import annotations

import hashlib
from typing import Any

from distributed import WorkerPlugin

from discover.dask_cluster import prepare_worker
from discover.user_tasks import NamedFile

__all__ = ["KernelPlugin"]


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
