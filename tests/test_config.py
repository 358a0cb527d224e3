"""Pipeline files: what is accepted, and that every mistake is one clear paragraph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_pipeline import TOML, FitSettings, Spectrum, Toy

from discover.errors import ArtefactError, ConfigError, DiscoverError
from pipelines.config import checked_name, from_table, load_json, load_toml
from pipelines.records import OWN_STAGES, settings_digest
from pipelines.stages import STAGES


def load(toy: Toy, text: str) -> object:
    toy.toml.write_text(text)
    return load_toml(toy.toml)


def test_a_file_becomes_settings_with_defaults_filled_in(toy: Toy) -> None:
    config = load_toml(toy.toml)
    assert (config.name, config.task, config.seed, config.engines) == ("toy", "toy", 3, ("terms",))
    assert config.fit == FitSettings(penalties=(0.1, 0.2), restarts=1)
    assert config.problems.spectrum == Spectrum()
    assert config.validate.n_problems == 4


def test_the_name_comes_from_the_file_unless_given(toy: Toy) -> None:
    other = toy.toml.with_name("toy-smoke.toml")
    other.write_text(TOML)
    assert load_toml(other).name == "toy-smoke"
    other.write_text(TOML.replace("seed = 3", 'seed = 3\nname = "mine"'))
    assert load_toml(other).name == "mine"


def test_what_was_resolved_reads_back_equal(toy: Toy, tmp_path: Path) -> None:
    text = TOML.replace("n_inputs = 2", 'n_inputs = 2\nothers = [{ kind = "power", exponent = 2 }]')
    toy.toml.write_text(text + '[problems.named.a]\nkind = "power"\n')
    config = load_toml(toy.toml)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert load_json(path) == config
    assert config.problems.others == (Spectrum("power", 2.0),)


MISTAKES = {
    "unknown section": ("[fit]", "[fitt]", "unknown key 'fitt'. Did you mean 'fit'?"),
    "unknown key": (
        "n_inputs = 2",
        "n_input = 2",
        "unknown key 'problems.n_input'. Did you mean 'n_inputs'?",
    ),
    "unknown key at the top": ("seed = 3", "sead = 3", "unknown key 'sead'. Did you mean 'seed'?"),
    "unknown nested key": (
        "n_inputs = 2",
        "n_inputs = 2\nspectrum = { kinds = 'power' }",
        "unknown key 'problems.spectrum.kinds'. Did you mean 'kind'?",
    ),
    "unknown key in a list": (
        "n_inputs = 2",
        "n_inputs = 2\nothers = [{}, { expnent = 1 }]",
        "unknown key 'problems.others[1].expnent'",
    ),
    "unknown key in a table of tables": (
        "n_inputs = 2",
        "n_inputs = 2\nnamed = { a = { exponant = 1 } }",
        "unknown key 'problems.named.a.exponant'",
    ),
    "text for a number": (
        "n_inputs = 2",
        'n_inputs = "2"',
        "problems.n_inputs: it should be a valid integer",
    ),
    "fraction for a count": ("n_inputs = 2", "n_inputs = 2.5", "problems.n_inputs"),
    "truth value for a number": ("n_inputs = 2", "n_inputs = true", "problems.n_inputs"),
    "number for a list": ("[0.1, 0.2]", "0.1", "fit.penalties: it should be a valid"),
    "number for a table": ("n_inputs = 2", "spectrum = 3", "problems.spectrum"),
    "negative size": (
        "n_inputs = 2",
        "n_inputs = -5",
        "problems.n_inputs: it should be greater than or equal to 1",
    ),
    "negative in a list": (
        "[0.1, 0.2]",
        "[0.1, -0.2]",
        "fit.penalties[1]: it should be greater than 0, but it is -0.2",
    ),
    "not a number": ("[0.1, 0.2]", "[nan]", "fit.penalties[0]: a finite number is expected"),
    "infinite": ("[0.1, 0.2]", "[inf]", "fit.penalties[0]: a finite number is expected"),
    "enormous": ("n_inputs = 2", f"n_inputs = {10**30}", "problems.n_inputs: the number has 100 bits"),
    "not one of the choices": ("n_inputs = 2", 'spectrum = { kind = "cubic" }', "'linear' or 'power'"),
    "none of several kinds": (
        "n_inputs = 2",
        "n_inputs = 2\nrates = 'fats'",
        "problems.rates: it should be 'slow' or 'fast', or a valid array, but it is 'fats'.",
    ),
    "bad number in one of several kinds": (
        "n_inputs = 2",
        "n_inputs = 2\nrates = [1.0, 'x']",
        "problems.rates",
    ),
    "refused by the task": ("n_inputs = 2", "n_inputs = 13", "The toy task does not take 13 inputs."),
    "negative seed": ("seed = 3", "seed = -3", "seed: it should be greater than or equal to 0"),
    "no task": ('task = "toy"', "", "task: this key is missing"),
    "unknown task": ('task = "toy"', 'task = "toi"', "There is no task 'toi'. Did you mean 'toy'?"),
    "no schema": ("schema = 1", "", "schema: this key is missing"),
    "schema from the future": ("schema = 1", "schema = 2", "upgrade plasticity-discovery"),
    "unknown engine": ('["terms"]', '["operton"]', "there is no engine 'operton'. Did you mean 'operon'?"),
    "engine that is no list": ('["terms"]', '"terms"', "search.engines: engine names are expected"),
    "no engines": ('["terms"]', "[]", "search.engines: engine names are expected"),
    "path as a name": ("seed = 3", 'seed = 3\nname = "../../etc"', "cannot name a run"),
    "broken TOML": ("[fit]", "[fit", "is not valid TOML"),
    "key twice": ("seed = 3", "seed = 3\nseed = 4", "is not valid TOML"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_a_mistake_is_one_clear_paragraph(toy: Toy, case: str) -> None:
    old, new, expected = MISTAKES[case]
    assert old in TOML
    with pytest.raises(ConfigError) as caught:
        load(toy, TOML.replace(old, new))
    text = str(caught.value)
    assert text.startswith(str(toy.toml))
    assert expected in text
    assert "\n" not in text.strip()
    assert caught.value.exit_code == 2


def test_a_section_that_is_no_table_is_said(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"fit: a table is expected, \[fit\], but it is 3"):
        load(toy, 'schema = 1\ntask = "toy"\nfit = 3\n')


def test_missing_and_unreadable_files_are_said(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file"):
        load_toml(tmp_path / "none.toml")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_toml(folder)
    toy.toml.write_bytes(b"schema = 1\n\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_toml(toy.toml)
    toy.toml.write_bytes(b"#" * 2_000_000)
    with pytest.raises(ConfigError, match="longer than"):
        load_toml(toy.toml)


def test_deep_nesting_is_refused(toy: Toy) -> None:
    with pytest.raises(ConfigError):
        load(toy, "a = " + "[" * 100_000)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"schema": 1}', "[" * 100_000])
def test_a_damaged_configuration_of_a_run_is_said(toy: Toy, tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises((ArtefactError, ConfigError)):
        load_json(path)


def test_engines_can_be_chosen_afterwards(toy: Toy) -> None:
    config = load_toml(toy.toml)
    assert config.with_engines(["operon", "terms", "operon"]).engines == ("operon", "terms")
    with pytest.raises(ConfigError, match="--engine: there is no engine 'oprn'"):
        config.with_engines(["oprn"])


@pytest.mark.parametrize(
    "name", ["..", ".", "", "a/b", "/etc", "a\\b", "-x", "a\nb", "x" * 65, "a b", "ü", "~"]
)
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a run"):
        checked_name(name, "file")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "exponent", "n_inputs", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
TABLES = st.dictionaries(
    st.sampled_from(
        ["schema", "task", "seed", "name", "problems", "fit", "search", "validate", "compare", "other"]
    ),
    VALUES
    | st.fixed_dictionaries(
        {}, optional={"n_inputs": VALUES, "spectrum": VALUES, "named": VALUES, "others": VALUES}
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(table=TABLES)
def test_any_table_is_either_settings_or_a_clear_error(toy: Toy, table: dict[str, object]) -> None:
    try:
        config = from_table({"schema": 1, "task": "toy", **table}, "file", "run")
    except DiscoverError:
        return
    assert from_table(config.to_dict(), "file", "") == config


REPOSITORY = Path(__file__).parents[1]
COMMITTED = sorted((REPOSITORY / "results" / "reference").glob("*/manifest.json"))


@pytest.mark.parametrize("manifest", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_results_have_the_settings_of_their_pipelines(manifest: Path) -> None:
    """A setting that came later, with the value that does what was always done, is no other setting."""
    config = load_toml(REPOSITORY / "pipelines" / f"{manifest.parent.name}.toml")
    if config.task in OWN_STAGES:
        return
    records = json.loads(manifest.read_text(encoding="utf-8"))["stages"]
    assert {name: settings_digest(STAGES[name], config) for name in records} == {
        name: record["settings"] for name, record in records.items()
    }
    changed = from_table({**config.to_dict(), "fit": {"n_starts": 2}}, source="here", default_name="other")
    assert settings_digest(STAGES["fit"], changed) != records["fit"]["settings"]
