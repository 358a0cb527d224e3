"""What reads text and files that somebody else may have written, each as a function of bytes.

Every target either does its work or raises one of the project's own errors, with a text that can be shown:
no other exception, nothing evaluated, no endless work. :func:`check` holds a target to that. ``test_fuzz.py``
runs the targets on mutations and on ``tests/corpus``; ``make fuzz`` (this file as a program) lets libFuzzer
look for more under coverage and leaves what it finds in the corpus.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "corpus"
os.environ.setdefault("MPLBACKEND", "Agg")
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

SECONDS_AN_INPUT = 20.0
LONGEST_MESSAGE = 4_000


class FuzzFailure(BaseException):
    """What a target must not do; no ``except Exception`` on the way can hide it."""


# ---------------------------------------------------------------------------------------------------- guards


_watched = False
_WRONG = {"exec", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class"}
_OWN_CODE = ("typing", "dataclasses", "collections", "pydantic._internal._typing_extra")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched or event not in _WRONG:
        return
    # Importing a module, and the annotations of a dataclass, run code of the program's own.
    if event == "exec" and (_caller(1) in _OWN_CODE or _is_importing()):
        return
    raise FuzzFailure(f"an input made the program {event}: {str(arguments)[:200]}")


def _caller(depth: int) -> str:
    return str(sys._getframe(depth + 1).f_globals.get("__name__"))


def _is_importing() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


sys.addaudithook(_audit)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Watch for evaluated code and for work without an end, in seconds of the processor."""
    global _watched

    def late(*_: object) -> None:
        raise FuzzFailure(f"an input was not done after {seconds:g} s of computing")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    _watched = True
    try:
        yield
    finally:
        _watched = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check(name: str, data: bytes) -> str | None:
    """Run a target on bytes; return the text of its error, None if it took them.

    Raises
    ------
    FuzzFailure
        If it evaluates code, does not end, or its error cannot be shown. Errors that are not the project's
        own pass through.
    """
    from discover.errors import DiscoverError

    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, _limited(SECONDS_AN_INPUT):
        try:
            target.run(data, Path(folder))
        except DiscoverError as error:
            text = str(error)
        else:
            return None
    if not text.strip() or len(text) > LONGEST_MESSAGE or "Traceback" in text:
        raise FuzzFailure(f"no clear error: {len(text)} characters, {text[:200]!r}")
    if not printable_everywhere(text):
        raise FuzzFailure(f"an error text that cannot be printed: {text!r}")
    return text


def printable_everywhere(text: str) -> bool:
    """Say whether a text holds no control characters and no halves of characters."""
    return all(character == "\n" or unicodedata.category(character)[0] != "C" for character in text)


# --------------------------------------------------------------------------------------------------- targets


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="surrogateescape")


def _run_folder(folder: Path, name: str, data: bytes) -> Path:
    """Write a run by hand, one file of it replaced."""
    from run_by_hand import artefacts, write_run

    write_run(folder, artefacts())
    (folder / "config.json").write_bytes(_by_hand("config")())
    (folder / f"{name}.json").write_bytes(data)
    return folder


def _look(folder: Path) -> None:
    """Show a run in all the ways there are."""
    from discover.report.reading import read_run
    from pipelines.differences import diff_text
    from pipelines.inspection import SORTS, front_as_asked, show_text
    from pipelines.show import summary_text

    def show(text: str) -> None:
        assert printable_everywhere(text), text

    first = (lambda: show(summary_text(folder)), lambda: show(show_text(folder)), lambda: read_run(folder))
    _all(first)
    # What these refuse, the others refuse alike.
    _all(
        [
            lambda: show(front_as_asked(folder, "complexity", "cv")),
            *(lambda sort=sort: show(front_as_asked(folder, sort, "")) for sort in SORTS),
            *(lambda way=way: show(front_as_asked(folder, "id", way)) for way in ("1se", "lowest", "elbow")),
            lambda: show(diff_text(folder, folder).text),
        ]
    )


def _all(calls: Any) -> None:
    """Make all calls; the first of the project's own errors is raised at the end."""
    from discover.errors import DiscoverError

    first: DiscoverError | None = None
    for call in calls:
        try:
            call()
        except DiscoverError as error:
            first = first or error
    if first is not None:
        raise first


def rule(data: bytes, _: Path) -> None:
    from discover.rule import Rule

    found = Rule.parse(_text(data))
    assert str(Rule.parse(str(found))) == str(found)
    found.latex()
    found.canonical()
    if found.is_polynomial:
        found.coefficients()


def slots(data: bytes, _: Path) -> None:
    """A rule of several slots, as JSON."""
    from discover.checked import parse_json
    from discover.errors import RuleError
    from discover.export import exported
    from discover.rule import Rule

    try:
        content = parse_json(data)
    except ValueError as error:
        raise RuleError(str(error)) from None
    found = Rule.parse(content)
    _all(lambda form=form: exported(found, form, "A rule.") for form in ("latex", "sympy", "python"))


def config(data: bytes, folder: Path) -> None:
    from pipelines.config import load_toml

    path = folder / "mine.toml"
    path.write_bytes(data)
    loaded = load_toml(path)
    json.dumps(loaded.to_dict(), allow_nan=False)


def resolved(data: bytes, folder: Path) -> None:
    from discover.report.reading import read_run
    from pipelines.config import load_json

    _run_folder(folder, "config", data)
    _all((lambda: load_json(folder / "config.json"), lambda: read_run(folder).config.sections))


def path(data: bytes, folder: Path) -> None:
    from discover.fit import FitResult
    from discover.stored import read_stored

    def everything() -> None:
        result = read_stored(folder / "path.json", FitResult)
        str((result.rule, result.dense, result.to_json()))

    _run_folder(folder, "path", data)
    _all((lambda: _bare(data, FitResult.from_json), everything, lambda: _look(folder)))


def _bare(data: bytes, from_json: Callable[[Any], object]) -> None:
    """Give a reader what no form has checked before."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return
    from_json(content)


def front(data: bytes, folder: Path) -> None:
    from discover.pareto import ParetoFront
    from discover.stored import read_stored

    def everything() -> None:
        result = read_stored(folder / "front.json", ParetoFront)
        str((result.rows(), result.chosen, result.reason))

    _run_folder(folder, "front", data)
    _all((lambda: _bare(data, ParetoFront.from_json), everything, lambda: _look(folder)))


def validation(data: bytes, folder: Path) -> None:
    _look(_run_folder(folder, "validation", data))


def comparison(data: bytes, folder: Path) -> None:
    _look(_run_folder(folder, "comparison", data))


def manifest(data: bytes, folder: Path) -> None:
    from pipelines.manifest import Manifest
    from pipelines.stages import STAGES

    _run_folder(folder, "manifest", data)

    def everything() -> None:
        read = Manifest(folder)
        for stage in STAGES:
            if read.record(stage) is not None:
                read.check_outputs(stage)

    _all((everything, lambda: _look(folder)))


def manifold(data: bytes, folder: Path) -> None:
    from discover.manifold import Manifold
    from discover.report.spiking_figures import manifold_figure
    from discover.stored import read_stored

    file = folder / "manifold.json"
    file.write_bytes(data)
    manifold_figure(read_stored(file, Manifold))


def posterior(data: bytes, folder: Path) -> None:
    from discover.posterior import Posterior
    from discover.posterior.words import answers_of
    from discover.report.posterior import posterior_section
    from discover.stored import read_stored

    file = folder / "posterior.json"
    file.write_bytes(data)
    read = read_stored(file, Posterior)
    assert all(printable_everywhere(text) for text in answers_of(read).values())
    posterior_section(folder)


def study(data: bytes, folder: Path) -> None:
    from discover.report.seed_study import losses_figure
    from discover.seed_study import read_study
    from pipelines.seed_rows import records_of, study_as_markdown, study_as_text

    file = folder / "study.json"
    file.write_bytes(data)
    read = read_study(file)
    losses_figure(read)
    assert printable_everywhere(study_as_text(read))
    _all((lambda: study_as_markdown(read), lambda: records_of(read)))


def trajectories(data: bytes, folder: Path) -> None:
    from discover.search.teacher import recorded_states
    from pipelines.artefacts import read_arrays

    file = folder / "trajectories.npz"
    file.write_bytes(data)
    recorded_states(read_arrays(file, "trajectories"), "feedforward", 3)


def protocols(data: bytes, folder: Path) -> None:
    """A table of pairing protocols, and one of their spikes."""
    from discover.pairing import read_protocols

    (folder / "protocols.csv").write_bytes(data)
    read_protocols(folder / "protocols.csv")


def table(data: bytes, folder: Path) -> None:
    _columns_of(folder / "data.csv", data)


def archive(data: bytes, folder: Path) -> None:
    _columns_of(folder / "data.npz", data)


def _columns_of(file: Path, data: bytes) -> None:
    """Read a table of `discover infer` as that command does, by columns and by recording."""
    from discover.inference import from_rows, read_table

    file.write_bytes(data)
    read = read_table(file)
    labels = read.labels("recording")
    assert all(printable_everywhere(label) for label in labels.tolist())
    numbers = [[number] for number in read.numbers("x").tolist()]
    from_rows(("x",), numbers, read.numbers("dw"), labels)


def journal(data: bytes, folder: Path) -> None:
    """A journal is used as far as it is sound, and never an error."""
    import numpy as np

    from discover.journal import Journal

    file = folder / ".fit.journal"
    file.write_bytes(data)
    with Journal(file, "fuzz") as kept:
        for number in range(kept.n_kept + 1):
            answer = kept.recall("losses", bytes([number % 3]), lambda: {"losses": np.ones(2)})
            assert all(isinstance(array, np.ndarray) for array in answer.values())
    with Journal(file, "fuzz") as again:
        assert again.n_kept >= 1


def events(data: bytes, folder: Path) -> None:
    """What is appended to any file is a line that can be read."""
    from pipelines.events import EventLog

    file = folder / "events.jsonl"
    file.write_bytes(data)
    log = EventLog(file)
    log.write("stage", name="\ud800 fit\n")
    log.close()
    assert json.loads(file.read_bytes().splitlines()[-1])["event"] == "stage"


def hall_of_fame(data: bytes, folder: Path) -> None:
    from discover.search._pysr_files import read_hall_of_fame

    (folder / "hall_of_fame.csv").write_bytes(data)
    for tree in read_hall_of_fame(folder, ("x0", "x1", "x2")):
        str(tree)


def factors(data: bytes, _: Path) -> None:
    from discover.search._term_library import read_templates

    read_templates(_text(data).split("\n"), ("div", "tanh", "exp", "sqrt", "abs"))


# ---------------------------------------------------------------------------------------------- valid inputs


def _by_hand(name: str) -> Callable[[], bytes]:
    def content() -> bytes:
        from run_by_hand import artefacts

        form = {} if name == "config" else {"schema": f"plasticity-discovery/{name}/1"}
        more = {"task": "oja", "problems": {}} if name == "config" else {}
        return json.dumps({**form, **artefacts()[name], **more}).encode()

    return content


def _rich_front() -> bytes:
    content = json.loads(_by_hand("front")())
    rule = {"feedforward": "x*y"}
    step = {"what": "rounded", "before": rule, "after": rule, "cost": 0.1, "error": 0.2, "accepted": True}
    spent = {"way": "engines", "n_simulated": 10, "heldout_loss": 0.1, "trace": [[5, 0.2], [10, 0.1]]}
    more = {"selector": "1se", "resolution": 0.01, "simplifications": [step], "spent": [spent]}
    return json.dumps({**content, **more}).encode()


def _rich_path() -> bytes:
    content = json.loads(_by_hand("path")())
    losses = {"train_loss": 0.1, "heldout_loss": 0.1, "heldout_error": 0.01}
    blocks = [{"pre": 1, "weight": 0, "coefficients": [0.1, 0.2, 0.3, 0.4]}]
    ends = {"low": -1.0, "high": 1.0}
    point = {"penalty": 0.1, **ends, "blocks": blocks, "n_blocks": 1, "restart": 0, **losses}
    teacher = {"slot": "feedforward", "points": [point], "chosen": 0, "reason": "the only", "choices": [0]}
    content["restarts"] = [{"restart": 0, "coefficients": {"feedforward": {"x*y": 1.0}}}]
    return json.dumps({**content, "teacher": teacher}).encode()


def _config() -> bytes:
    return (ROOT / "pipelines" / "oja-smoke.toml").read_bytes()


def _manifold() -> bytes:
    parameters = {"alpha": -0.2, "beta": 0.0, "gamma": 1.0, "kappa": 1.0, "tau_pre": 20.0, "tau_post": 20.0}
    one = {
        "parameters": parameters, "loss": 0.1, "simulated_hz": 5.0, "predicted_hz": 5.1, "corrected_hz": None,
        "tuning": 0.9, "converged": True, "on_surface": True,
    }  # fmt: skip
    content = {
        "schema": "plasticity-discovery/manifold/1", "task": "ei-balance", "target_hz": 5.0, "pre_hz": 8.0,
        "tolerance": 0.1, "searched": [one], "rate_only": [one], "surface": [one],
        "directions": [{"spread": 0.5, "weights": {"alpha": 1.0}}],
        "answers": {"question": "answer"},
    }  # fmt: skip
    return json.dumps(content).encode()


def _posterior() -> bytes:
    return (ROOT / "tests" / "corpus" / "posterior" / "valid.json").read_bytes()


def _study() -> bytes:
    from discover.seed_study import SeedRow, Study, families_of, shares_of

    loss = {"mean": 0.02, "low": 0.01, "high": 0.03}
    rows = [
        SeedRow.from_json(row)
        for row in (
            {
                "seed": 427422, "outcome": "exact", "candidate": "c1",
                "slots": {"feedforward": "x*y - w*y**2"}, "family": "a*x*y + b*w*y**2",
                "verdict": "same up to scale", "nearest": "oja", "loss": loss, "loss_on": "test problems",
                "complexity": 9, "seconds": 12.5, "measures": {"cosine": loss},
            },
            {"seed": 829840, "outcome": "failed", "error": "no memory"},
        )
    ]  # fmt: skip
    content = Study(
        name="oja", task="oja", pipeline={"task": "oja", "problems": {"n_inputs": 2}}, answer="one law",
        law="oja", law_title="Oja (1982)", root=2020, asked=(427422, 829840, 794424), stages=("search",),
        rows=tuple(rows), outcomes=shares_of(rows, "one law"), families=families_of(rows), text="In words.",
    )  # fmt: skip
    return json.dumps({"schema": "plasticity-discovery/study/1", **content.to_json()}).encode()


def _trajectories() -> bytes:
    import numpy as np

    from pipelines.artefacts import write_arrays

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trajectories.npz"
        states = np.arange(12.0).reshape(4, 3)
        write_arrays(file, "trajectories", {"feedforward.states": states, "feedforward.update": states[:, 0]})
        return file.read_bytes()


def _table() -> bytes:
    rows = [f"r{number // 4},{number / 7:.4f},{number / 3:.4f}" for number in range(24)]
    return "\n".join(["recording,x [Hz],dw [nS/s]", *rows, ""]).encode()


def _protocols() -> bytes:
    from discover.pairing.protocols import SHIPPED

    return SHIPPED.read_bytes()


def _archive() -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    x = np.arange(24.0)
    np.savez(buffer, recording=np.repeat(["a", "b", "c"], 8), x=x, dw=x**2)
    return buffer.getvalue()


def _journal() -> bytes:
    import numpy as np

    from discover.journal import Journal

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal"
        with Journal(file, "fuzz") as kept:
            for number in range(3):
                kept.recall("losses", bytes([number]), lambda number=number: {"losses": np.ones(number + 1)})
        return file.read_bytes()


@dataclass(frozen=True)
class Target:
    """One reader.

    Parameters
    ----------
    run : callable
        Takes bytes and an empty folder.
    valid : callable
        Returns bytes that it takes without an error.
    is_json : bool
        Whether what it reads is JSON, to be mutated field by field.
    """

    run: Callable[[bytes, Path], None]
    valid: Callable[[], bytes]
    is_json: bool = True


TARGETS: Mapping[str, Target] = {
    "rule": Target(rule, lambda: b"x*y - 0.5*w*y**2 + tanh(x)/(1 + abs(y))", is_json=False),
    "slots": Target(slots, lambda: b'{"on_pre": "w*x_post - 0.1", "on_post": "x_pre", "tau_pre": "20"}'),
    "config": Target(config, _config, is_json=False),
    "resolved": Target(resolved, _by_hand("config")),
    "path": Target(path, _rich_path),
    "front": Target(front, _rich_front),
    "validation": Target(validation, _by_hand("validation")),
    "comparison": Target(comparison, _by_hand("comparison")),
    "manifest": Target(manifest, _by_hand("manifest")),
    "manifold": Target(manifold, _manifold),
    "posterior": Target(posterior, _posterior),
    "study": Target(study, _study),
    "trajectories": Target(trajectories, _trajectories, is_json=False),
    "table": Target(table, _table, is_json=False),
    "protocols": Target(protocols, _protocols, is_json=False),
    "archive": Target(archive, _archive, is_json=False),
    "journal": Target(journal, _journal, is_json=False),
    "events": Target(events, lambda: b'{"time": "now", "event": "stage"}\n', is_json=False),
    "hall_of_fame": Target(
        hall_of_fame, lambda: b'Complexity,Loss,Equation\n3,0.5,"x0 * 1.5f-5"\n', is_json=False
    ),
    "factors": Target(factors, lambda: b"v\ntanh(v)\n1/(c + v**2)", is_json=False),
}


# ------------------------------------------------------------------------------------------------- mutations

DEEP = 200
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, -(2**64), 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"),
    "", "x*y", "0", "nan", "__import__('os').system('true')", "../../etc/passwd", "/dev/zero", "\0", "\ud800",
    "\u202e\u0000",
    "\x1b[2J\r",
    "\u202eé\N{COMBINING ACUTE ACCENT}", "x" * 20_000, "(" * 5_000, "9**9**9**9", [], {}, [[]], [None],
    {"": {}}, {"__class__": "os"}, [1e308, -1e308], "plasticity-discovery/front/999",
    "plasticity-discovery/path/1",
)  # fmt: skip
"""Values that a field may be replaced by."""


def mutated(valid: Any, choose: Callable[[int], int]) -> Any:
    """Return JSON content with some of its fields changed.

    Parameters
    ----------
    valid : Any
        Plain data; is not changed.
    choose : callable
        Returns a whole number from 0 to n, without n.
    """
    content = copy.deepcopy(valid)
    for _ in range(1 + choose(3)):
        places = list(_places(content))
        if not places:
            return content
        holder, key = places[choose(len(places))]
        kind = choose(5)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            value: Any = holder[key]
            for _ in range(1 + choose(DEEP)):
                value = {"x": value} if choose(2) else [value]
            holder[key] = value
        elif kind == 2:
            holder[key] = copy.deepcopy(_at(valid, choose))
        elif kind == 3 and isinstance(holder, dict):
            holder[str(ODD[choose(len(ODD))])] = copy.deepcopy(holder[key])
        else:
            holder[key] = copy.deepcopy(ODD[choose(len(ODD))])
    return content


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    stack = [content]
    for _ in range(2_000):
        if not stack:
            return
        one = stack.pop()
        pairs = list(one.items()) if isinstance(one, dict) else []
        pairs += enumerate(one) if isinstance(one, list) else ()
        for key, value in pairs:
            yield one, key
            stack.append(value)


def _at(content: Any, choose: Callable[[int], int]) -> Any:
    places = list(_places(content))
    holder, key = places[choose(len(places))]
    return holder[key]


def cut_or_changed(data: bytes, choose: Callable[[int], int]) -> bytes:
    """Return bytes cut off, doubled, or with some of them changed."""
    changed = bytearray(data)
    for _ in range(1 + choose(4)):
        if not changed:
            break
        at, kind = choose(len(changed)), choose(4)
        if kind == 0:
            del changed[at:]
        elif kind == 1:
            changed[at] = choose(256)
        elif kind == 2:
            changed[at:at] = changed[at : at + 1 + choose(40)] * (1 + choose(30))
        else:
            del changed[at : at + 1 + choose(40)]
    return bytes(changed)


# --------------------------------------------------------------------------------------------------- program


_NO_ARCHIVE = (KeyError, OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _mutate(name: str) -> Callable[[bytes, int, int], bytes]:
    """Mutate JSON by fields and archives by members half of the time; libFuzzer's bytes the other half."""
    import atheris

    def custom(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            with contextlib.suppress(ValueError, RecursionError, *_NO_ARCHIVE):
                if TARGETS[name].is_json:
                    new = json.dumps(mutated(json.loads(data), rng.randrange)).encode()
                    return new[:max_size]
                if name == "trajectories":
                    return _repacked(data, rng)[:max_size]
        return bytes(atheris.Mutate(data, max_size))

    return custom


def _repacked(data: bytes, rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            new.writestr(member, cut_or_changed(old.read(member)[:100_000], rng.randrange))
    return out.getvalue()


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    import atheris

    with (
        atheris.instrument_imports(include=["discover", "pipelines"], enable_loader_override=False),
        tempfile.TemporaryDirectory() as empty,
    ):
        # Imports, before the inputs' own time is counted.
        TARGETS[name].run(TARGETS[name].valid(), Path(empty))
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)

    def one(data: bytes) -> None:
        check(name, data)

    with tempfile.TemporaryDirectory() as found:
        (Path(found) / "valid").write_bytes(TARGETS[name].valid())
        arguments = [
            sys.argv[0], found, str(folder), f"-max_total_time={seconds}", f"-artifact_prefix={folder}/",
            "-rss_limit_mb=3000", "-timeout=60", "-max_len=60000", "-print_final_stats=1", "-verbosity=0",
        ]  # fmt: skip
        atheris.Setup(arguments, one, custom_mutator=_mutate(name))
        atheris.Fuzz()


def main() -> int:
    """Fuzz the targets in turns, each in a process of its own; return how many failed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help="all by default")
    parser.add_argument("--seconds", type=int, default=600, help="over all targets")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    share = max(1, -(-asked.seconds // len(names)))  # not less in all than was asked for
    if asked.here:
        _fuzz(names[0], share)
        return 0
    failed = []
    for name in names:
        print(f"{name}: {share} s", flush=True)
        command = [sys.executable, __file__, name, "--seconds", str(share), "--here"]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    for name in failed:
        print(f"{name}: failed; the input is in {CORPUS / name}", flush=True)
    print(f"{len(names) - len(failed)} of {len(names)} targets clean in {share * len(names)} s", flush=True)
    return min(len(failed), 100)


if __name__ == "__main__":
    sys.exit(main())
