"""What `--fresh` asked for and has not got yet: without this, a run that was cut off would begin again."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines import artefacts

__all__ = ["FreshRequest"]

SCHEMA = "plasticity-discovery/fresh/1"


class FreshRequest:
    """Stages that are to run although they may be up to date, remembered in the run's folder.

    Parameters
    ----------
    folder : Path
        Folder of the run; the request is its file ``.fresh``, which goes when all is done.
    config : str
        Checksum of the configuration; a request for another one does not count, nor does a damaged file.

    Attributes
    ----------
    asked, left : tuple of str
        All stages of the request, and those that have not finished; both empty when there is none.
    """

    def __init__(self, folder: Path, config: str) -> None:
        self.path = folder / ".fresh"
        self._config = config
        self.asked, self.left = self._read()

    def ask(self, stages: tuple[str, ...]) -> None:
        """Begin a request; stages that an earlier one has left stay asked for.

        Raises
        ------
        ArtefactError
            When the file cannot be written.
        """
        kept = tuple(stage for stage in self.left if stage not in stages)
        self._write(stages, stages + kept)

    def done(self, stage: str) -> None:
        """Note that a stage has finished.

        Raises
        ------
        ArtefactError
            When the file cannot be written.
        """
        if stage in self.left:
            self._write(self.asked, tuple(other for other in self.left if other != stage))

    def _write(self, asked: tuple[str, ...], left: tuple[str, ...]) -> None:
        self.asked, self.left = (asked, left) if left else ((), ())
        if not left:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                artefacts.unwritable(self.path, error)
            return
        content = {"schema": SCHEMA, "config": self._config, "asked": asked, "left": left}
        artefacts.write_text(self.path, artefacts.to_text(content))

    def _read(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if (content["schema"], content["config"]) == (SCHEMA, self._config):
                return tuple(map(str, content["asked"])), tuple(map(str, content["left"]))
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            pass
        return (), ()
