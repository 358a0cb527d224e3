"""The connection to a Dask cluster: checked before work is sent, with kernels compiled on every worker."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from discover.errors import ClusterError, ClusterLost, DiscoverError
from discover.user_tasks import NamedFile, load_named, named_files

__all__ = ["connected", "facts", "warm_kernels"]

CONNECT_S = 5.0
"""A scheduler that does not answer within these seconds is not there."""

N_WARM = 16
"""Problems that kernels are compiled on: enough for those that run side by side in lanes."""

MUST_AGREE = ("code", "numpy", "numba", "scipy")

INSTALL = "Install it on this machine and on the workers: pip install dask distributed."


@contextmanager
def connected(
    address: str, note: Callable[[str], None], prepare: tuple[Any, Any] | None, patience_s: float
) -> Iterator[Any]:
    """Yield a client of a cluster whose workers are ready; see :func:`discover.parallel.dask_backend`."""
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(f"The backend dask needs the package distributed ({error}). {INSTALL}") from error

    address = _address_in(address)
    with _quiet_log():
        try:
            client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {address[:200]} ({_first_line(error)}). Start one with "
                "`dask scheduler`, which prints its address, and give that: --scheduler tcp://HOST:8786."
            ) from error
        try:
            _check_workers(client, address, note, patience_s)
            name = _prepared(client, note, prepare)
            yield client
            if name is not None:
                with suppress(Exception):  # the work is done
                    client.unregister_worker_plugin(name)
        finally:
            with suppress(Exception):  # whatever goes wrong here would hide what went wrong before
                client.close(timeout=CONNECT_S)


def facts() -> dict[str, str]:
    """Return what must be the same on a worker for results to be the same to the last bit.

    Returns
    -------
    dict from str to str
        Checksum of the code, versions, and the ``processor``.
    """
    import llvmlite.binding
    import numba
    import scipy

    processor = f"{llvmlite.binding.get_host_cpu_name()} {_features(llvmlite.binding)}"
    versions = {"numpy": np.__version__, "numba": numba.__version__, "scipy": scipy.__version__}
    return {"code": _code(), **versions, "processor": processor}


def warm_kernels(task: Any, settings: Any) -> None:
    """Compile what a fit of a task runs, or load it from the cache; BLAS is held to one thread.

    Parameters
    ----------
    task : Task
    settings : dataclass
        Of its problems.
    """
    from discover.known_rules import get_known_rule
    from discover.tasks.base import coefficients_of

    _one_blas_thread()
    few = task.draw(settings, 2 if not task.has_gradient else N_WARM, np.random.SeedSequence(0))
    rule = get_known_rule(task.reference_for(settings)).rule
    if rule is None or not rule.is_polynomial:
        return
    coefficients = coefficients_of(task, rule)
    n_steps = min(2, few.n_steps)
    if task.has_gradient:
        task.gradient(coefficients, few, n_steps)
        task.losses(coefficients, few.subset([0]), n_steps)
        task.losses(coefficients, few, n_steps)
    else:
        task.losses_of_rules([coefficients, coefficients], few)


def _address_in(text: str) -> str:
    """Return an address, read from the file that a scheduler has written where one is named."""
    if not text.endswith(".json"):
        return text
    try:
        found = json.loads(Path(text).read_text(encoding="utf-8"))["address"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ClusterError(
            f"{text[:200]} is not the file of a Dask scheduler ({_first_line(error)}). "
            "`dask scheduler --scheduler-file FILE.json` writes one when it starts."
        ) from error
    return str(found)


def _check_workers(client: Any, address: str, note: Callable[[str], None], patience_s: float) -> None:
    """Wait for a first worker, and see that all have the code and the libraries of this process."""
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError as error:
        raise ClusterError(
            f"The Dask scheduler at {address} has no worker after {patience_s:.0f} s. Start some with "
            f"`dask worker {address} --nthreads 1`, then run the same command again."
        ) from error
    try:
        found: Mapping[str, Mapping[str, str]] = client.run(facts)
    except (ImportError, AttributeError) as error:
        raise ClusterError(
            f"A worker of the Dask cluster at {address} cannot import this program ({_first_line(error)}). "
            "Start scheduler and workers in the environment in which it is installed."
        ) from error
    except OSError as error:
        raise ClusterLost(f"The Dask scheduler at {address} was lost.") from error
    own = facts()
    for worker, theirs in found.items():
        for name in MUST_AGREE:
            if theirs[name] != own[name]:
                what = "another version of this program" if name == "code" else f"{name} {theirs[name]}"
                mine = "this process" if name == "code" else f"{own[name]} here"
                raise ClusterError(
                    f"The Dask worker {worker} has {what} than {mine}; results would differ. Install the "
                    "same (make, with constraints.txt) and start the workers again."
                )
    others = [worker for worker, theirs in found.items() if theirs["processor"] != own["processor"]]
    if others:
        note(
            f"{len(others)} of {len(found)} workers have another kind of processor than this machine: "
            "results may differ from a local run's in the last digits"
        )


def _prepared(client: Any, note: Callable[[str], None], prepare: tuple[Any, Any] | None) -> str | None:
    """Compile kernels on all workers, and on those that join later; return the name of what does so."""
    if prepare is None:
        client.run(_one_blas_thread)
        return None
    from distributed.protocol.serialize import serialize_bytes

    from discover._dask_classes import KernelPlugin

    task, settings = prepare
    task = getattr(task, "plain", task)
    note(f"compiling kernels on {len(client.ncores())} workers (once)")
    plugin = KernelPlugin(named_files(), serialize_bytes((task, settings)))
    try:
        client.register_plugin(plugin)
    except DiscoverError:
        raise
    except OSError as error:
        raise ClusterLost(f"The Dask scheduler was lost while kernels were compiled: {error}.") from error
    return plugin.name


def prepare_worker(files: tuple[NamedFile, ...], parcel: bytes) -> None:
    """Load the files that the user named and compile the kernels of a task, on a worker."""
    from distributed.protocol.serialize import deserialize_bytes

    for file in files:
        load_named(file)
    warm_kernels(*deserialize_bytes(parcel))


def _one_blas_thread() -> None:
    """The order of a BLAS sum changes with its threads; the kernels' does not."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1, user_api="blas")


@cache
def _code() -> str:
    root, digest = Path(__file__).resolve().parent.parent, hashlib.sha256()
    for path in sorted(path for package in ("sims", "discover") for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _features(binding: Any) -> str:
    """Digest of what a processor can do: code is compiled for it, and sums come out accordingly."""
    text = binding.get_host_cpu_features().flatten()
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:")[:200] if lines else type(error).__name__


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Keep Dask's own lines about lost connections off the terminal: what matters is raised."""
    # Dask gives several of its loggers a level of their own.
    loggers = [logging.getLogger(name) for name in ("distributed", *logging.root.manager.loggerDict)]
    levels = {one: one.level for one in loggers if one.name.split(".")[0] == "distributed"}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
