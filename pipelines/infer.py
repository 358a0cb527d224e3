"""`discover infer`: from a table of recorded data to the artefacts and the report of a run.

The artefacts have the forms of those of simulated runs, so that `discover front`, `show` and `export` read
them. `config.json` says ``"task": "recorded"`` and where the data came from.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discover.errors import ArtefactError, ConfigError, RuleError, did_you_mean
from discover.forms import StageRecord
from pipelines import artefacts
from pipelines.events import Reporter
from pipelines.infer_config import TASK, DataConfig, InferConfig, is_recorded, named_pairs, run_name
from pipelines.look import PLAIN, Look
from pipelines.manifest import Manifest, digest
from pipelines.records import finished
from pipelines.sources import code_hash

if TYPE_CHECKING:
    from discover.inference import Recordings, Table
    from discover.inference.forms import RecordedCandidate
    from discover.pareto import Candidate

__all__ = ["infer_table", "notes_of", "report_again", "run_infer"]

OUTPUTS = (
    "path.json",
    "front.json",
    "front.csv",
    "validation.json",
    "comparison.json",
    "predictions.npz",
)
MODULES = ("discover.inference",)


def run_infer(
    folder: Path, config: InferConfig, table: Table, reporter: Reporter, threads: int = 1, fresh: bool = False
) -> None:
    """Infer a rule from a table and write everything into a run's folder, which must be locked.

    Parameters
    ----------
    folder : Path
    config : InferConfig
    table : Table
        Already read.
    reporter : Reporter
    threads : int
        For the manifest.
    fresh : bool
        Whether to run also where nothing changed since the last time.

    Raises
    ------
    DiscoverError
        If the table or a setting cannot be used, an engine fails, or a file cannot be written; earlier
        results are then as they were.
    """
    recordings = recordings_of(table, config)
    manifest = Manifest(folder, empty=fresh)
    settings = config.to_dict()
    settings["data"].pop("source")  # the same data elsewhere are the same data
    wanted = StageRecord(
        settings=digest({key: value for key, value in settings.items() if key != "name"}),
        code=code_hash(MODULES),
        inputs={"data": table.digest},
        outputs={},
        seconds=0.0,
        threads=threads,
    )
    if not fresh:
        remedy = (
            "To keep both, choose another folder with --results DIR or another name with --name. To replace "
            "it, add --fresh."
        )
        manifest.check_not_overwritten(("infer", "report"), {"infer": wanted.settings}, remedy)
    again = "Repeat the command with --fresh to make it anew."
    if not fresh and manifest.is_up_to_date("infer", wanted, again):
        reporter.up_to_date("infer")
    else:
        _work(folder, config, table, recordings, manifest, wanted, reporter)
    _report(folder, config, manifest, threads, reporter, fresh)


def _check_columns(table: Table, data: DataConfig) -> None:
    """Make sure that a table has all columns that are asked for; the text says which option names another."""
    wanted = {column: f"Another one: --variables {name}=COLUMN." for name, column in data.variables.items()}
    wanted |= {data.target: "Another one: --target COLUMN."} if data.target not in wanted else {}
    others = {"--groups": data.groups, "--time": data.time, "--synapse": data.synapse}
    wanted |= {column: f"Another one: {option} COLUMN." for option, column in others.items() if column}
    for column, remedy in wanted.items():
        try:
            table.column(column)
        except ConfigError as error:
            raise ConfigError(f"{error} {remedy}") from None


def recordings_of(table: Table, config: InferConfig) -> Recordings:
    """Return the recordings that a table holds.

    Raises
    ------
    ConfigError
        If a column is missing or cannot be used.
    """
    import numpy as np

    from discover.inference import from_rows, weak_form
    from discover.slots import recorded_slot

    data = config.data
    if not data.variables:
        raise ConfigError("--variables: at least one variable is needed, such as x,y,w.")
    try:
        recorded_slot(tuple(data.variables))
    except RuleError as error:
        raise ConfigError(f"--variables: {error} Columns are renamed by NAME=COLUMN.") from None
    columns = {name: table.numbers(column) for name, column in data.variables.items()}
    target = table.numbers(data.target)
    labels = table.labels(data.groups) if data.groups else None
    if not data.weak:
        if data.target in data.variables.values():
            raise ConfigError(
                f"The target {data.target!r} is also a variable: it would explain itself. If it is the "
                "weight over time whose change is wanted, add --weak --time COLUMN."
            )
        if table.n_rows < 20:
            raise ConfigError(f"{table.source} has {table.n_rows} rows; a rule needs at least 20.")
        inputs = np.column_stack(list(columns.values()))
        return from_rows(tuple(columns), inputs, target, labels, config.settings.blocks)
    times = table.numbers(data.time)
    synapses = table.labels(data.synapse) if data.synapse else None
    return weak_form(
        columns, tuple(columns), target, times, labels, synapses, data.window, config.settings.blocks
    )


def unit_facts(table: Table, data: DataConfig) -> dict[str, Any]:
    """Return the units of all variables and of what the rule gives.

    Raises
    ------
    ConfigError
        If a unit is given for something that is no column.
    """
    from discover.inference.tables import unit_of
    from discover.inference.units import parse_unit

    used = {**data.variables, data.target: data.target}
    used |= {data.time: data.time} if data.time else {}
    given = {}
    for name, text in data.units.items():
        if name not in used and name not in table.columns:
            raise ConfigError(f"--units: there is no column {name[:40]!r}.{did_you_mean(name, used)}")
        given[used.get(name, name)] = parse_unit(text)
    units = {name: unit_of(table, column, given) for name, column in data.variables.items()}
    target = unit_of(table, data.target, given)
    if data.weak:
        target = target / unit_of(table, data.time, given)
    stated = bool(given) or any(column in table.units for column in used.values())
    return {"variables": units, "target": target, "stated": stated}


def _work(
    folder: Path,
    config: InferConfig,
    table: Table,
    recordings: Recordings,
    manifest: Manifest,
    wanted: StageRecord,
    reporter: Reporter,
) -> None:
    import numpy as np

    from discover.inference.beside import compare_recorded
    from discover.inference.forms import Recorded, RecordedCandidate, RecordedFront
    from discover.inference.laws import infer
    from discover.inference.trials import try_recordings
    from discover.inference.units import constant_units

    started = time.perf_counter()
    units = unit_facts(table, config.data)
    with reporter.stage("infer") as progress:
        found = infer(recordings, config.settings, config.engines, progress)
        trials = try_recordings(found, recordings)
        rules = {one.id: one.rule for one in (*found.front.front, found.front.chosen)}
        comparison = compare_recorded(rules, recordings.of(list(found.search)), found.slot)
        stated = units["stated"]

        def with_units(one: Candidate) -> RecordedCandidate:
            if not stated:
                return RecordedCandidate(**vars(one))
            texts = constant_units(one.rule.expression(), units["variables"], units["target"])
            known = tuple(None if unit is None else str(unit) for unit in texts)
            return RecordedCandidate(**vars(one), constant_units=known)

        recorded = Recorded(
            quantity=config.data.quantity,
            units={name: str(unit) for name, unit in units["variables"].items()} if stated else {},
            target_unit=str(units["target"]) if stated else "",
            recordings=tuple(recordings.names),
            groups_stated=recordings.stated,
            kept=tuple(recordings.names[one] for one in found.kept),
            n_rows=table.n_rows,
            n_equations=recordings.samples.n_rows if config.data.weak else 0,
            window=recordings.window,
            verdict=found.verdict,
        )
        candidates = tuple(with_units(one) for one in found.front.candidates)
        front = RecordedFront(**{**vars(found.front), "candidates": candidates, "recorded": recorded})
        artefacts.write_text(folder / "config.json", artefacts.to_text(config.to_dict()))
        manifest.write(config, wanted.threads, "infer", None)
        artefacts.write_json(folder / "path.json", found.path.written(TASK))
        artefacts.write_json(folder / "front.json", front)
        artefacts.write_csv(folder / "front.csv", found.front.rows())
        artefacts.write_json(folder / "validation.json", trials.validation)
        artefacts.write_json(folder / "comparison.json", comparison)
        arrays = {
            "observed": trials.observed,
            "predicted": trials.predicted,
            "recording": trials.groups,
            "kept": np.isin(trials.groups, found.kept),
        }
        artefacts.write_arrays(folder / "predictions.npz", "predictions", arrays)
        written = {name: artefacts.checksum(folder / name) for name in OUTPUTS}
        manifest.write(
            config, wanted.threads, "infer", finished(wanted, written, started, found.front.engines)
        )


def _report(
    folder: Path, config: InferConfig, manifest: Manifest, threads: int, reporter: Reporter, fresh: bool
) -> None:
    wanted = StageRecord(
        settings="",
        code=code_hash(("discover.report",)),
        inputs={name: artefacts.checksum(folder / name) for name in OUTPUTS},
        outputs={},
        seconds=0.0,
        threads=threads,
    )
    record = manifest.record("report")
    same = record is not None and (record.code, record.inputs) == (wanted.code, wanted.inputs)
    if same and not fresh and (folder / "report.html").is_file():
        reporter.up_to_date("report")
        return
    started = time.perf_counter()
    with reporter.stage("report"):
        report_again(folder)
    written = {"report.html": artefacts.checksum(folder / "report.html")}
    manifest.write(config, threads, "report", finished(wanted, written, started))


def report_again(folder: Path) -> None:
    """Write the report of a run of `discover infer` from its artefacts.

    Raises
    ------
    ArtefactError
        If an artefact is missing or damaged, or the report cannot be written.
    """
    from discover.report.recorded import write_recorded_report

    try:
        write_recorded_report(folder)
    except OSError as error:
        artefacts.unwritable(Path(error.filename) if error.filename else folder, error)


def notes_of(folder: Path) -> list[str]:
    """Return what a person should know of how the data were split."""
    from discover.inference.forms import RecordedFront

    facts = artefacts.read_stored(folder / "front.json", RecordedFront).recorded
    notes = []
    if not facts.groups_stated:
        notes.append(
            f"No column of recordings was named (--groups): {len(facts.recordings)} contiguous blocks "
            "of rows stood for recordings."
        )
    if facts.kept:
        notes.append(f"Kept out of the search and predicted at the end: {', '.join(facts.kept[:8])}.")
    if facts.window is not None:
        notes.append(
            f"Weak form: {facts.n_equations} equations with test functions {facts.window:.4g} wide; "
            "no weight was differentiated."
        )
    return notes


def infer_table(
    path: Path,
    results: Path,
    *,
    variables: str,
    target: str,
    groups: str,
    units: str,
    weak: bool,
    time: str,
    synapse: str,
    window: float | None,
    engines: tuple[str, ...],
    degree: int,
    functions: tuple[str, ...],
    seed: int,
    name: str,
    fresh: bool,
    threads: int,
    look: Look = PLAIN,
) -> str:
    """Run `discover infer` as the command line asks for it, and return what it prints.

    Raises
    ------
    DiscoverError
        If anything cannot be used; earlier results are then as they were.
    """
    from discover.inference.tables import read_table

    if weak and not time:
        raise ConfigError("--weak needs the column of times: --time t.")
    if not weak and (time or synapse or window is not None):
        raise ConfigError(
            "--time, --synapse and --window belong to --weak, where the target is observed over time."
        )
    table = read_table(path)
    data = DataConfig(
        source=str(path),
        target=target or ("w" if weak else "dw"),
        variables=named_pairs(variables, "--variables", alone=True),
        groups=groups,
        synapse=synapse,
        time=time,
        units=named_pairs(units, "--units"),
        weak=weak,
        window=window,
        sha256=table.digest,
    )
    _check_columns(table, data)
    # What was said so far comes at once: these take seconds to load.
    from discover.inference.settings import InferSettings
    from discover.search.engine import resolve
    from pipelines.events import open_reporter
    from pipelines.runs import locked, run_folder
    from pipelines.show import summary_text

    if engines:
        resolve(engines)
    settings = InferSettings(degree=degree, seed=seed, functions=functions)
    config = InferConfig(run_name(path, name), engines, data, settings)
    folder = run_folder(results, config.name)
    if (folder / "config.json").exists() and not is_recorded(folder):
        raise ArtefactError(f"{folder} holds another kind of run. Choose another name with --name.")
    recordings_of(table, config)
    unit_facts(table, data)  # mistakes are said before anything is written
    with locked(folder):
        reporter = open_reporter(folder)
        try:
            run_infer(folder, config, table, reporter, threads, fresh)
        finally:
            reporter.close()
    return "\n".join([summary_text(folder, look), *map(look.prose, notes_of(folder))])
