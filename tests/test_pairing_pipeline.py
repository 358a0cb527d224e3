"""Pairing experiments from the command line: the pipeline, tables of users, the report, and studies."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from discover.errors import ArtefactError, ConfigError, TaskError
from discover.export import exported
from discover.fit import FitResult
from discover.forms import Comparison, Validation
from discover.pairing import PairingSettings, Protocol, read_protocols, shipped_protocols
from discover.pairing.forms import PairingComparison, PairingFront, PairingPath, PairingValidation
from discover.pairing.protocols import burst_times
from discover.pairing.rules import weights_by
from discover.pareto import ParetoFront
from discover.report.pairing import write_pairing_report
from discover.rule import Rule
from discover.stored import read_stored
from discover.tasks import get_task
from discover.tasks.ei_coplastic import EiCoplasticSettings, rule_from_text
from pipelines.cli import app
from pipelines.seed_rows import row_of, sought

ROOT = Path(__file__).resolve().parent.parent
SMOKE = ROOT / "pipelines" / "pairing-smoke.toml"
HOSTILE = '<script>alert(1)</script>&"$x_1$'
TRIPLET = (
    "pre_spike: -0.0116*x_post; post_spike: 0.0126*x_pre*slow_post; tau_pre: 20; tau_post: 14; "
    "tau_slow_post: 80"
)


def discover(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run."""
    folder = tmp_path_factory.mktemp("pairing")
    code, output = discover("run", SMOKE, "--results", folder)
    assert code == 0, output
    assert "verdict: The data support" in output
    assert "on protocols left out one by one" in output
    return folder / "pairing-smoke"


def test_the_artefacts_have_the_forms_of_all_runs(run: Path) -> None:
    for name, form in {"path": FitResult, "validation": Validation, "comparison": Comparison}.items():
        read_stored(run / f"{name}.json", form)
    sets = read_stored(run / "path.json", PairingPath).pairing
    front = read_stored(run / "front.json", PairingFront)
    validation = read_stored(run / "validation.json", PairingValidation)
    decisions = read_stored(run / "comparison.json", PairingComparison).pairing
    sizes = {one.n_terms: one for one in sets.sizes}
    assert (sizes[2].n_sets, sizes[2].n_told_apart) == (45, 44)
    two = [one for one in sets.ranked if one.n_terms == 2]
    assert len(two) == 44  # all of them have their rank
    assert [one.rank for one in two] == sorted(one.rank for one in two)
    chosen = front.chosen_id
    assert {fold.name.partition(":")[0] for fold in validation.candidates[chosen].folds} == {
        "protocol", "frequency", "lag", "held out"
    }  # fmt: skip
    held = validation.pairing.held[chosen]
    assert held.undecided == (True,) * 5 + (False,) * 2
    assert {one.name for one in decisions.known} >= {"stdp-triplet", "stdp-suppression"}
    distances = [one.distance for one in decisions.further]
    assert distances == sorted(distances, reverse=True)
    for one in front.candidates:
        assert one.heldout_loss == pytest.approx(one.pairing.left_out_chi2 / 10)
    told = read_stored(run / "front.json", ParetoFront).verdict
    assert told == front.pairing.verdict


def test_a_second_run_has_nothing_to_do_and_commands_read_it(run: Path) -> None:
    before = (run / "front.json").read_bytes()
    code, output = discover("run", SMOKE, "--results", run.parent)
    assert code == 0
    assert "up to date" in output
    assert (run / "front.json").read_bytes() == before
    assert "-->" in discover("front", run)[1]
    for selector in ("lowest", "elbow", "cv"):
        code, output = discover("front", run, "--select", selector)
        assert (code, "the run itself chose" in output) == (0, True), output
    assert "folds passed" in discover("show", run)[1]
    assert "Pfister and Gerstner (2006)" in discover("compare", run)[1]
    assert r"\tau_{\mathrm{post}}" in discover("export", run, "--to", "latex")[1]
    code, text = discover("export", run, "--to", "brian2")
    assert code == 0
    compile(text, "exported", "exec")
    assert discover("diff", run, run)[0] == 0


class _Page(HTMLParser):
    """Collects the attributes that could load something, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page_of(folder: Path) -> _Page:
    page = _Page()
    page.feed((folder / "report.html").read_text(encoding="utf-8"))
    return page


def test_the_report_is_one_page_that_loads_nothing(run: Path) -> None:
    page = page_of(run)
    assert all(one.startswith(("data:", "#")) for one in page.loads)
    assert "script" not in page.tags
    text = " ".join("".join(page.words).split())
    assert "45 rules of 2 terms (44 of them are told apart by these protocols)" in text
    assert "no trace rule decides this" in text
    assert "The protocol that would decide most" in text
    assert "the true rule has about 1" in text
    for name in ("frequency", "predicted", "window", "ranks", "decisive", "further", "front", "path"):
        assert (run / "figures" / f"{name}.png").stat().st_size > 5_000


def test_artefacts_of_another_run_are_noticed_by_the_report(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    content = json.loads((copy / "comparison.json").read_text())
    squares = content["pairing"]["squares"]
    for damaged, said in (
        ([[1.0], *squares[1:]], r"pairing\.squares: its rows are not of one length"),
        ([row[1:] for row in squares], "do not belong together"),
    ):
        content["pairing"]["squares"] = damaged
        (copy / "comparison.json").write_text(json.dumps(content))
        with pytest.raises(ArtefactError, match=said):
            write_pairing_report(copy)
    (copy / "trajectories.npz").write_bytes(b"no archive")
    with pytest.raises(ArtefactError, match=r"trajectories\.npz"):
        write_pairing_report(copy)


# -------------------------------------------------------------------------------------------- tables of users

HEAD = "rate [Hz],dt [s],n,repeats,every [ms],strength [%],sem [%],lab"
ROWS = (
    "10,0.01,5,15,10000,115.2,10.2,A", "20,0.01,5,15,10000,130.5,13.9,A", "40,0.01,5,15,10000,154,11.3,A",
    "50,0.01,5,15,10000,155.9,26.9,B", "10,-0.01,5,15,10000,56.4,10.8,A", "20,-0.01,5,15,10000,63.9,9,A",
    "40,-0.01,5,15,10000,150,30.5,A", "50,-0.01,5,15,10000,169.2,18.6,B",
)  # fmt: skip
NAMES = "frequency=rate,lag=dt,spikes=n,bursts=repeats,period=every,ratio=strength,error=sem,group=lab"


def table(folder: Path, head: str = HEAD, rows: tuple[str, ...] = ROWS) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_a_table_of_ones_own_goes_all_the_way_with_a_group_held_out(tmp_path: Path) -> None:
    group = HOSTILE.replace('"', "")
    hostile = table(tmp_path, rows=tuple(row[:-1] + (group if row[-1] == "B" else "A") for row in ROWS))
    options = ("--protocols", "--columns", NAMES, "--hold-out", group, "--engine", "terms")
    options = (*options, "--results", str(tmp_path))
    code, output = discover("infer", hostile, *options)
    assert code == 0, output
    folder = tmp_path / "mine"
    held = read_stored(folder / "validation.json", PairingValidation).pairing.held
    (only,) = held[read_stored(folder / "front.json", ParetoFront).chosen_id].groups
    assert (only.name, only.n) == (group, 2)
    assert only.chi2 >= 0
    assert only.r2 is not None
    assert "script" not in page_of(folder).tags
    # The same again is up to date; another table in its place is not.
    assert "up to date" in discover("infer", hostile, *options)[1]
    table(tmp_path, rows=tuple(row.replace("115.2", "120") for row in ROWS))
    code, output = discover("infer", hostile, "--protocols", "--columns", NAMES, "--results", tmp_path)
    assert code == 2
    assert "--fresh" in output


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda row: row, (), "has no column 'ratio'.* --columns ratio=NAME"),
        (lambda row: row.replace(",10.2,A", ",,A"), ("--columns", NAMES),
         r"data row 1: the standard error of the ratio is missing .*--error 0\.1"),
        (lambda row: row, ("--columns", NAMES, "--hold-out", "C"), "no protocol is of the group 'C'"),
        (lambda row: row, ("--columns", "speed=rate"), "Protocols have no column 'speed'"),
        (lambda row: row, ("--columns", NAMES, "--tie", "none"), "--tie: pre or post"),
        (lambda row: row.replace("-0.01", "x"), ("--columns", NAMES), "column 'dt' has 'x' in data row 5"),
        (lambda row: row, ("--columns", NAMES, "--name", "../up"), "cannot name a run"),
    ],
)  # fmt: skip
def test_mistakes_are_one_clear_error(tmp_path: Path, change, options, message: str) -> None:  # type: ignore[no-untyped-def]
    path = table(tmp_path, rows=tuple(change(row) for row in ROWS))
    code, output = discover("infer", path, "--protocols", *options, "--results", tmp_path / "results")
    assert code == 2
    text = " ".join(output.split())
    assert re.search(message, text), text
    assert "Traceback" not in text
    assert not (tmp_path / "results").exists()


def test_a_missing_standard_error_may_be_stated(tmp_path: Path) -> None:
    path = table(tmp_path, rows=(ROWS[0].replace(",10.2,A", ",,A"), *ROWS[1:]))
    names = dict(part.split("=") for part in NAMES.split(","))
    found = read_protocols(path, names, error=0.2)
    assert [one.error for one in found[:2]] == [0.2, pytest.approx(0.139)]


def test_options_of_protocols_are_refused_without_them(tmp_path: Path) -> None:
    code, output = discover("infer", table(tmp_path), "--hold-out", "A")
    assert code == 2
    assert "belong to --protocols" in output
    for useless in (("--groups", "lab"), ("--polynomial",), ("--degree", "3"), ("--units", "x=Hz")):
        code, output = discover("infer", table(tmp_path), "--protocols", "--columns", NAMES, *useless)
        assert code == 2
        assert f"{useless[0]}: these have no use with --protocols" in output
    assert "belong to --protocols" in discover("infer", table(tmp_path), "--tie", "post")[1]


def test_spike_times_alone_go_all_the_way(tmp_path: Path) -> None:
    """No protocol has a frequency or a lag, and one has a name that is no formula."""
    rng = np.random.default_rng(0)
    rows = ["protocol,neuron,time,ratio,error"]
    for k in range(8):
        name = "A $\\foo$ B " + "long " * 20 if k == 0 else f"p{k}"
        for neuron in ("pre", "post"):
            times = np.sort(rng.uniform(0, 300, 4)).round(1)
            rows += [f"{name},{neuron},{time},{1 + 0.05 * k:.2f},0.1" for time in times]
    (tmp_path / "spikes.csv").write_text("\n".join(rows) + "\n")
    code, output = discover(
        "infer", tmp_path / "spikes.csv", "--protocols", "--engine", "terms", "--results", tmp_path
    )
    assert code == 0, output
    page = (tmp_path / "spikes" / "report.html").read_text(encoding="utf-8")
    assert "A $\\foo$ B" in page


def test_spikes_belong_to_protocols_by_name(tmp_path: Path) -> None:
    train = tmp_path / "train.csv"
    train.write_text("protocol,neuron,time\n1,pre,10\n1,post,0\n")
    with pytest.raises(ConfigError, match="has no column 'protocol', by which"):
        read_protocols(table(tmp_path), dict(part.split("=") for part in NAMES.split(",")), spikes=train)
    long = tmp_path / "long.csv"
    long.write_text("protocol,neuron,time,ratio,error\n" + "".join(f"{k},pre,0,1.1,0.1\n" for k in range(3)))
    with pytest.raises(ConfigError, match="has the spikes itself"):
        read_protocols(long, spikes=train)


def test_spike_times_of_any_pattern_are_read(tmp_path: Path) -> None:
    long = tmp_path / "spikes.csv"
    long.write_text(
        "protocol,neuron,time [s],ratio,error,lab\n"
        "triplet,pre,0.01,1.3,0.1,A\ntriplet,post,0,1.3,0.1,A\ntriplet,post,0.02,1.3,0.1,A\n"
        "pair,Pre,0,1.1,0.1,A\npair,Post,0.01,1.1,0.1,A\n"
        "alone,pre,0,0.9,0.1,B\n"
    )
    triplet, pair, alone = read_protocols(long, {"group": "lab"})
    assert triplet.pre_ms.tolist() == [10.0]
    assert triplet.post_ms.tolist() == [0.0, 20.0]
    assert (pair.name, pair.frequency_hz, pair.change) == ("pair", None, pytest.approx(0.1))
    assert alone.post_ms.size == 0
    # The same with results in one table and spikes in another; bursts stay bursts.
    results = tmp_path / "results.csv"
    results.write_text(
        "protocol,frequency,lag,ratio,error\ntriplet,1,1,1.3,0.1\nbursts,10,5,1.2,0.1\nalone,1,1,0.9,0.1\n"
    )
    train = tmp_path / "train.csv"
    train.write_text("protocol,neuron,time\ntriplet,pre,10\ntriplet,post,0\ntriplet,post,20\nalone,pre,0\n")
    found = read_protocols(results, spikes=train)
    assert found[0].post_ms.tolist() == triplet.post_ms.tolist()
    assert (found[1].frequency_hz, found[1].lag_ms) == (10.0, 5.0)
    for text, message in (
        (train.read_text() + "triplett,pre,1\n", "has no protocol 'triplett'. Did you mean 'triplet'"),
        (train.read_text().replace("post,0", "side,0"), "is pre or post, got 'side'"),
    ):
        train.write_text(text)
        with pytest.raises(Exception, match=re.escape(message)):
            read_protocols(results, spikes=train)
    long.write_text(long.read_text().replace("triplet,post,0,1.3", "triplet,post,0,1.4"))
    with pytest.raises(Exception, match="has the ratio"):
        read_protocols(long)


# ------------------------------------------------------------------------------------------- task and studies


def test_a_study_counts_forms_and_a_null_that_nothing_is_found(run: Path, tmp_path: Path) -> None:
    from pipelines.config import load_json

    config = load_json(run / "config.json")
    stages = ("simulate", "fit", "search", "compare")
    row = row_of(run, 1, sought(config), stages)
    assert row.outcome in ("same form", "no rule")
    assert row.measures["left_out_r2"].mean is not None
    front = json.loads((run / "front.json").read_text())
    comparison = json.loads((run / "comparison.json").read_text())
    assert bool(comparison["baseline"]["beaten_by"]) == front["pairing"]["verdict"]["supported"]
    task = get_task("pairing")
    assert task.answer_for(PairingSettings(permuted=True)) == "nothing"
    assert task.answer_for(PairingSettings()) == "one form"


def test_any_spiking_rule_is_compared_in_the_task() -> None:
    code, output = discover("compare", TRIPLET, "--task", "pairing")
    assert code == 0
    assert "same terms" in output
    assert "minimal triplet rule" in output
    code, output = discover("compare", "on_pre: -x_post; on_post: x_pre", "--task", "pairing")
    assert "equals Song, Miller and Abbott (2000)" in output
    assert discover("compare", "x*y", "--task", "pairing")[0] == 2


def test_losses_of_the_task_are_those_of_the_protocols() -> None:
    task = get_task("pairing")
    ten = PairingSettings(hold_out=("lag 0", "lag 25 ms"))
    problems = task.draw(ten, 4, np.random.SeedSequence(0))
    assert problems.n_problems == 10
    nothing = task.losses(Rule.parse("pre_spike: 0; post_spike: 0"), problems)
    assert nothing.mean() == pytest.approx(1.0)
    assert task.losses(Rule.parse(TRIPLET), problems).mean() < 0.1
    ends = np.array([weights[-1] for weights in weights_by(Rule.parse(TRIPLET), shipped_protocols())])
    errors = task.evaluate(Rule.parse(TRIPLET), problems)["error"]
    expected = [
        (end - 1 - one.change) / one.error for end, one in zip(ends, shipped_protocols(), strict=True)
    ]
    np.testing.assert_allclose(errors, np.abs(expected))
    steps, curve = task.learning_curve(Rule.parse(TRIPLET), problems, 5)
    assert curve.shape == (5, 10)
    np.testing.assert_allclose(curve[0], nothing)
    assert task.losses(Rule.parse("pre_spike: 1000*w; post_spike: 0"), problems).max() <= 1e6
    assert steps[0] == 0


def test_the_found_rule_becomes_the_excitation_of_a_circuit() -> None:
    task = get_task("ei-coplastic")
    settings = EiCoplasticSettings(
        duration_s=1.0, measured_s=0.5, excitatory_rate=0.05, excitatory_text=TRIPLET
    )
    fold = task.folds(settings)[-1]
    assert fold.name == "excitation-text"
    assert fold.settings.excitatory_rule == "text"
    plastic = task.excitation(fold.settings)
    assert (plastic.slow_tau_ms, plastic.rule.tau_pre_ms, plastic.rule.tau_post_ms) == (80.0, 20.0, 14.0)
    assert task.excitation(settings).slow_tau_ms is None
    assert "excitation-text" not in {one.name for one in task.folds(EiCoplasticSettings())}
    rule, slow = rule_from_text("on_pre: -w*x_post; on_post: x_pre")
    assert (str(rule), slow) == ("on_pre: -w*x_post; on_post: x_pre", None)


@pytest.mark.parametrize(
    "text",
    ["", "post_spike: x_pre + x_pre*slow_post", "pre_spike: slow_pre", "post_spike: x_pre**", "x*y"],
)
def test_rules_that_the_circuit_cannot_follow_are_refused(text: str) -> None:
    with pytest.raises(TaskError, match="excitatory_text"):
        EiCoplasticSettings(excitatory_rule="text", excitatory_text=text)


@pytest.mark.slow
@pytest.mark.usefixtures("brian2")
def test_an_exported_rule_does_in_brian2_what_it_does_here(tmp_path: Path) -> None:
    script = tmp_path / "rule.py"
    script.write_text(exported(Rule.parse(TRIPLET + "; tau_slow_pre: 100"), "brian2"))
    done = subprocess.run([sys.executable, script, "2"], capture_output=True, text=True, check=True)
    printed = [float(line.rpartition(" ")[2]) for line in done.stdout.splitlines() if " bursts of " in line]
    protocols = []
    for frequency in (10, 20, 40, 50):
        for lag in (10, -10):
            pre = burst_times(frequency, 5, 2, 2000.0)
            protocols.append(Protocol("", pre, pre + lag, 0.0, 1.0))
    expected = [weights[-1] - 1.0 for weights in weights_by(Rule.parse(TRIPLET), protocols)]
    np.testing.assert_allclose(printed, expected, atol=1e-4)
