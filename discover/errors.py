"""Errors that this package raises on purpose; every text says what was wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtefactError",
    "ClusterError",
    "ClusterLost",
    "ConfigError",
    "DiscoverError",
    "EngineError",
    "EngineUnavailable",
    "EngineWarning",
    "ExtraMissing",
    "NoCandidate",
    "RuleError",
    "RunFailed",
    "TaskError",
    "did_you_mean",
]

_LONGEST_SLIP = 60


class DiscoverError(Exception):
    """Root of all errors of this package; the command line prints its text as one paragraph.

    Attributes
    ----------
    exit_code : int
        Exit code of the command line: 2 for bad input, 1 for a run that failed.
    """

    exit_code: int = 2


class RuleError(DiscoverError, ValueError):
    """A rule, or the text of one, that cannot be used."""


class ConfigError(DiscoverError, ValueError):
    """A pipeline file or setting that cannot be used."""


class ArtefactError(DiscoverError):
    """An artefact that is missing, truncated, edited, written by a later version, or not writable."""


class TaskError(DiscoverError, ValueError):
    """An unknown task, or a setting that the task does not take."""


class NoCandidate(TaskError, KeyError):
    """A name that no candidate of a front has."""

    __str__ = Exception.__str__  # that of KeyError shows its text in quotes


class EngineError(DiscoverError):
    """A symbolic engine that is unknown or did not do its work."""


class EngineUnavailable(EngineError):
    """A symbolic engine that cannot run on this machine; the text says what is missing."""


class EngineWarning(UserWarning):
    """A symbolic engine was left out."""


class ExtraMissing(DiscoverError):
    """Packages that only a part of the program needs are not installed; the text says how to install them."""


class RunFailed(DiscoverError):
    """A run that was asked for correctly and failed."""

    exit_code: int = 1


class ClusterError(DiscoverError):
    """A cluster that cannot be used: not installed, not reachable, without workers, or with other code."""


class ClusterLost(RunFailed):
    """A cluster that was lost while it was at work."""


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return a suggestion for a misspelt word, ready to be appended to an error text.

    Parameters
    ----------
    word : str
        What came in.
    allowed : iterable of str
        What would have been right.

    Returns
    -------
    str
        ``" Did you mean 'x'?"`` with a leading blank, or an empty text when nothing comes close.

    Examples
    --------
    >>> did_you_mean("tahn", ["tanh", "exp"])
    " Did you mean 'tanh'?"
    >>> did_you_mean("banana", ["tanh", "exp"])
    ''
    """
    if len(word) > _LONGEST_SLIP:
        return ""
    candidates = list(allowed)
    by_lower_case = {candidate.lower(): candidate for candidate in reversed(candidates)}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return f" Did you mean {by_lower_case[close[0]]!r}?" if close else ""
