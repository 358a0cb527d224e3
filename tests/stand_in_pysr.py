"""A module in PySR's place that writes fronts, for tests of everything around the search by Julia."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from discover.search.engine import Availability
from discover.search.pysr import PySREngine

OJA = '"(x0 - (x1 * x2)) * x1"'


def installed_parameters() -> set[str]:
    """Return the parameters of the installed PySRRegressor, read from its source and not imported."""
    spec = importlib.util.find_spec("pysr")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0]) / "sr.py"
    (regressor,) = (
        node
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ClassDef) and node.name == "PySRRegressor"
    )
    (init,) = (n for n in regressor.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    return {argument.arg for argument in init.args.kwonlyargs}


FAKE_PYSR = """
import inspect, json, os, signal, time
from pathlib import Path

HERE = Path(__file__).parent
PLAN = json.loads((HERE / "plan.json").read_text())

class PySRRegressor:
    def __init__(self, **arguments):
        self.arguments = arguments

    def fit(self, inputs, target, variable_names):
        assert variable_names == [f"x{k}" for k in range(inputs.shape[1])]
        with (HERE / "log.jsonl").open("a") as log:
            log.write(json.dumps({"process": os.getpid(), **self.arguments}) + "\\n")
        count = len((HERE / "log.jsonl").read_text().splitlines())
        plan = json.loads((HERE / "plan.json").read_text())
        folder = Path(self.arguments["output_directory"]) / self.arguments["run_id"]
        folder.mkdir(parents=True, exist_ok=True)
        text = "\\n".join(["Complexity,Loss,Equation", '1,0.5,"0.1"', *plan["lines"], ""])
        (folder / "hall_of_fame.csv").write_text(text)
        (folder / "checkpoint.pkl").write_bytes(b"cposix\\nsystem\\n(S'false'\\ntR.")
        os.write(1, b"noise that Julia makes\\n")
        if plan["accident"] == "killed" and count == plan["in_search"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if plan["accident"] == "told to stop" and count == plan["in_search"]:
            self.interrupted_ = True
        if plan["accident"] == "hangs":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)

PySRRegressor.__init__.__signature__ = inspect.Signature(
    [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in PLAN["accepted"]]
)
"""


class Fake:
    """In the place of PySR, in its child process; takes the arguments of the installed version."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, home: Path, without: frozenset[str] = frozenset()
    ) -> None:
        self.home = home
        self.plan: dict[str, Any] = {
            "accepted": sorted((installed_parameters() | {"guesses"}) - without),
            "lines": [f"7,1e-9,{OJA}"],
            "accident": "",
            "in_search": 1,
        }
        home.mkdir()
        (home / "pysr.py").write_text(FAKE_PYSR)
        self.write()
        path = os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])])
        monkeypatch.setenv("PYTHONPATH", path)
        monkeypatch.setattr(
            PySREngine, "availability", lambda self: Availability("pysr", True, "PySR 9, Julia 9")
        )

    def write(self, **changes: Any) -> None:
        """Say what the next searches do."""
        self.plan |= changes
        (self.home / "plan.json").write_text(json.dumps(self.plan))

    @property
    def arguments(self) -> list[dict[str, Any]]:
        """What the searches since the last look were given."""
        log = self.home / "log.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def searched(self) -> int:
        """Return the number of searches since the last look."""
        count = len(self.arguments)
        (self.home / "log.jsonl").unlink(missing_ok=True)
        return count
