"""Finding a Julia that PySR can use; nothing is imported, started or downloaded for it."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from discover.child_process import child_environment

__all__ = ["OFFLINE", "Julia", "find_julia"]

OFFLINE: Mapping[str, str] = {"PYTHON_JULIAPKG_OFFLINE": "yes"}
"""Environment in which juliapkg downloads nothing."""

_CHILD = "discover.search._julia_child"
_LIMIT_S = 30.0


@dataclass(frozen=True)
class Julia:
    """What was found.

    Parameters
    ----------
    version : str
        Empty if there is no Julia.
    problem : str
        Why it would not start, as a sentence; empty if nothing speaks against it.
    needed : str
        Versions that PySR, juliacall and this Python's OpenSSL take, such as ``1.10.3 - 1.11``; empty if that
        is not known.
    """

    version: str
    problem: str
    needed: str = ""

    @property
    def remedy(self) -> str:
        """How to get one that would start."""
        needed = f"Julia {self.needed}" if self.needed else "Julia 1.10.3 or later"
        return (
            "Get it with `discover doctor --install-julia`, which downloads a Julia that suits and PySR's "
            f"Julia packages once; with this Python's OpenSSL {_openssl()} that is {needed}. One of these "
            "from https://julialang.org/downloads on the PATH is used if it is there. A Julia that has the "
            "packages is also taken from PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT together."
        )


def find_julia() -> Julia:
    """Ask juliapkg, in a process of its own, which Julia it would start, and look whether that can work."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", _CHILD],
            env=child_environment(OFFLINE),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMIT_S,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Julia("", "The Julia that was found does not answer `--version`.")
    try:
        return Julia(**json.loads(done.stdout))
    except (ValueError, TypeError):
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Julia("", f"Where Julia is could not be found out ({said[:300]}).")


def _openssl() -> str:
    major, minor, *_ = ssl.OPENSSL_VERSION_INFO
    return f"{major}.{minor}"
