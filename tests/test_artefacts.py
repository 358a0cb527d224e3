"""Artefacts are written whole or not at all, and a damaged one is refused with a clear paragraph."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discover import archives, stored
from discover.errors import ArtefactError, RunFailed
from discover.fit import FitResult
from discover.forms import Comparison, ManifestFile, Validation
from discover.manifold import Manifold
from discover.pairing.forms import PairingComparison, PairingFront, PairingPath, PairingValidation
from discover.pareto import ParetoFront
from discover.seed_study import Study
from discover.stored import Artefact, read_stored
from pipelines import artefacts
from pipelines.artefacts import checksum, read_arrays, write_arrays, write_csv, write_json, write_text

REFERENCE = Path(__file__).resolve().parent.parent / "results" / "reference"
FORMS = (FitResult, ParetoFront, Validation, Comparison, ManifestFile, Manifold, Study)
OF_PAIRING = (PairingPath, PairingFront, PairingValidation, PairingComparison)
COMMITTED = [
    (path, form)
    for form in (*FORMS, *OF_PAIRING)
    for path in sorted(REFERENCE.glob(f"*/{form.kind}.json"))
    if (form in OF_PAIRING) == (path.parent.name == "pairing" and form.kind not in ("manifest", "study"))
]

PATH: dict[str, Any] = {
    "task": "oja",
    "points": [
        {
            "penalty": 0.05,
            "coefficients": {"feedforward": {"x*y": 1.0, "w*y**2": -1.0}},
            "n_terms": 2,
            "train_loss": 0.01,
            "heldout_loss": 0.02,
        }
    ],
    "chosen": 0,
    "reason": "one standard error",
    "restarts": [{"restart": 0}],
    "term_stability": {"feedforward": {"x*y": 1.0}},
}
FRONT: dict[str, Any] = {
    "task": "oja",
    "engine": ["operon", "terms"],
    "candidates": [
        {
            "id": "c1",
            "slots": {"feedforward": "x*y - w*y**2"},
            "complexity": 9,
            "train_loss": 0.01,
            "heldout_loss": 0.02,
            "provenance": "terms",
            "on_front": True,
        }
    ],
    "chosen": "c1",
    "reason": "elbow",
}
VALIDATION: dict[str, Any] = {
    "candidates": {
        "c1": {
            "folds": [
                {
                    "name": "digits",
                    "metrics": {"cosine": {"mean": 0.9, "low": None, "high": 1}},
                    "passed": True,
                }
            ],
            "passed": True,
        }
    }
}
COMPARISON: dict[str, Any] = {
    "candidates": {
        "c1": {
            "nearest": "oja",
            "verdict": "same up to scale",
            "distances": {"oja": {"coefficient": 0.01, "functional": 0.02, "behavioural": None}},
        }
    }
}
GOOD = {FitResult: PATH, ParetoFront: FRONT, Validation: VALIDATION, Comparison: COMPARISON}


def path_of(**change: Any) -> FitResult:
    return FitResult.from_json({**PATH, **change})


@pytest.mark.parametrize(("form", "content"), GOOD.items(), ids=lambda one: getattr(one, "kind", ""))
def test_what_was_written_is_read(tmp_path: Path, form: type[Artefact], content: dict[str, Any]) -> None:
    path = tmp_path / "deep" / "file.json"
    one = form.from_json(content)
    write_json(path, one)
    assert read_stored(path, form) == one
    assert json.loads(path.read_text())["schema"] == f"plasticity-discovery/{form.kind}/1"


def test_all_kinds_are_among_the_committed_artefacts() -> None:
    assert {form for _, form in COMMITTED} == {*FORMS, *OF_PAIRING}


@pytest.mark.parametrize(
    ("path", "form"), COMMITTED, ids=[path.relative_to(REFERENCE).as_posix() for path, _ in COMMITTED]
)
def test_committed_artefacts_are_written_again_byte_for_byte(
    tmp_path: Path, path: Path, form: type[Artefact]
) -> None:
    write_json(tmp_path / path.name, read_stored(path, form))
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_equal_content_makes_equal_bytes_and_numpy_numbers_are_numbers(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    stability = {"feedforward": {"x*y": np.float64(0.5), "x": np.float32(0.25)}}
    write_json(one, replace(path_of(), chosen=np.int64(0), term_stability=stability))
    write_json(other, path_of(term_stability={"feedforward": {"x*y": 0.5, "x": 0.25}}))
    assert one.read_bytes() == other.read_bytes()
    assert checksum(one) == checksum(other)


@pytest.mark.parametrize(
    "change",
    [{"points": 3}, {"chosen": "first"}, {"chosen": -1}, {"reason": None}, {"task": 1}],
    ids=lambda change: str(change),
)
def test_a_wrong_type_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "path.json"
    text = json.dumps({"schema": "plasticity-discovery/path/1", **PATH, **change})
    path.write_text(text)
    with pytest.raises(
        ArtefactError, match=r"path\.json was edited or is damaged: .* Make it again\."
    ) as caught:
        read_stored(path, FitResult, "Make it again.")
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    content = {key: value for key, value in FRONT.items() if key != "candidates"}
    path.write_text(json.dumps({"schema": "plasticity-discovery/front/1", **content}))
    with pytest.raises(ArtefactError, match="candidates: field required"):
        read_stored(path, ParetoFront)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("plasticity-discovery/path/2", "written by a newer release"),
        ("plasticity-discovery/front/1", "is expected, but it is 'plasticity-discovery/front/1'"),
        ("plasticity-discovery/path/one", "is expected"),
        ("plasticity-discovery/path/" + "9" * 10_000, "is expected"),
        ("", "is expected"),
        (None, "is expected, but it is None"),
        (1, "is expected, but it is 1"),
    ],
)
def test_another_schema_is_refused(tmp_path: Path, schema: object, message: str) -> None:
    path = tmp_path / "path.json"
    path.write_text(json.dumps({"schema": schema, **PATH}))
    with pytest.raises(ArtefactError, match=message):
        read_stored(path, FitResult)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "path.json"
    write_json(path, path_of())
    data = path.read_bytes().rstrip()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ArtefactError, match="truncated or was edited"):
            read_stored(path, FitResult)


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", "[]", "3", '{"a": Infinity}', "\x00", "{} {}"])
def test_text_that_is_no_artefact_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "path.json"
    path.write_text(text)
    with pytest.raises(ArtefactError):
        read_stored(path, FitResult)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "path.json"
    path.write_bytes(b'{"schema": "\xff\xfe"}')
    with pytest.raises(ArtefactError):
        read_stored(path, FitResult)


def test_infinite_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    text = json.dumps({"schema": "plasticity-discovery/front/1", **FRONT}).replace("0.02", "1e999")
    path.write_text(text)
    with pytest.raises(ArtefactError, match="finite"):
        read_stored(path, ParetoFront)


def test_missing_folders_and_over_long_files_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArtefactError, match=r"There is no file .*path\.json\. Make it\."):
        read_stored(tmp_path / "path.json", FitResult, "Make it.")
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_stored(tmp_path, FitResult)
    with pytest.raises(ArtefactError, match="There is no file"):
        checksum(tmp_path / "none")
    path = tmp_path / "path.json"
    write_json(path, path_of())
    monkeypatch.setattr(stored, "MAX_BYTES", 10)
    with pytest.raises(ArtefactError, match="longer than 10 bytes"):
        read_stored(path, FitResult)


def test_content_that_breaks_its_form_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "path.json"
    write_json(path, path_of())
    before = path.read_bytes()
    with pytest.raises(RunFailed, match=r"points\.0\.restart"):
        write_json(path, replace(path_of(), points=(replace(path_of().points[0], restart=-1),)))
    assert path.read_bytes() == before


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_both_readers(data: bytes) -> None:
    path = Path(os.environ["NUMBA_CACHE_DIR"]).with_name("any-bytes")
    path.write_bytes(data)
    with pytest.raises(ArtefactError):
        read_stored(path, ParetoFront)
    with pytest.raises(ArtefactError):
        read_arrays(path, "trajectories")
    path.unlink()


# ---------------------------------------------------------------------------------------------------- arrays


def test_arrays_come_back_and_equal_arrays_make_equal_bytes(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6.0).reshape(2, 3), "time": np.arange(3)}
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    write_arrays(one, "trajectories", arrays)
    write_arrays(other, "trajectories", arrays)
    assert one.read_bytes() == other.read_bytes()
    back = read_arrays(one, "trajectories")
    assert set(back) == {"x", "time"}
    np.testing.assert_array_equal(back["x"], arrays["x"])


def test_truncated_damaged_and_foreign_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trajectories.npz"
    write_arrays(path, "trajectories", {"x": np.arange(1000.0)})
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(ArtefactError, match="truncated or was edited"):
            read_arrays(path, "trajectories")
    generator = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[generator.integers(len(data))] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_arrays(path, "trajectories")
        except ArtefactError:
            continue
    write_arrays(path, "other", {"x": np.arange(3)})
    with pytest.raises(ArtefactError, match="plasticity-discovery/trajectories/1"):
        read_arrays(path, "trajectories")
    write_arrays(path, "trajectories", {"x": np.arange(3)}, version=2)
    with pytest.raises(ArtefactError, match="newer release"):
        read_arrays(path, "trajectories")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "trajectories.npz"
    np.savez(path, schema=np.array("plasticity-discovery/trajectories/1"), x=np.array([{}], dtype=object))
    with pytest.raises(ArtefactError, match="no archive of plain NumPy arrays"):
        read_arrays(path, "trajectories")


def test_an_archive_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trajectories.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\0" * 1_000_000)
    monkeypatch.setattr(archives, "MAX_ARRAY_BYTES", 100_000)
    with pytest.raises(ArtefactError, match="would unpack to 1,000,000 bytes"):
        read_arrays(path, "trajectories")


def test_tables_have_the_columns_of_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "front.csv"
    write_csv(path, [{"id": "a", "loss": 0.5}, {"id": "b", "rule": "x*y, twice"}])
    assert path.read_text() == 'id,loss,rule\na,0.5,\nb,,"x*y, twice"\n'


# ---------------------------------------------------------------------- folders that cannot be written


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["fsync", "open"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "path.json"
    write_json(path, path_of())
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(artefacts.os, step, no_space)
        with pytest.raises(
            ArtefactError, match=r"cannot be written: No space left .* Earlier results are as they were"
        ):
            write_json(path, path_of(task="other"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["path.json"]


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(ArtefactError, match="cannot be written"):
        write_text(tmp_path / "results" / "oja" / "path.json", "{}")


def test_a_folder_where_a_file_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "path.json").mkdir()
    with pytest.raises(ArtefactError, match="cannot be written"):
        write_text(tmp_path / "path.json", "{}")
    assert [file.name for file in tmp_path.iterdir()] == ["path.json"]


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".path.json.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(ArtefactError):
        write_text(tmp_path / "path.json", "{}")
    assert victim.read_text() == "precious"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def test_a_really_full_file_system_keeps_earlier_results(mounted: Path) -> None:
    path = mounted / "path.json"
    write_json(path, path_of())
    before = path.read_bytes()
    with pytest.raises(ArtefactError, match="No space left on device"):
        write_json(path, path_of(reason="x" * 200_000))
    assert path.read_bytes() == before
    assert [file.name for file in mounted.iterdir()] == ["path.json"]


def test_a_really_read_only_file_system_keeps_earlier_results(mounted: Path) -> None:
    path = mounted / "path.json"
    write_json(path, path_of())
    before = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True, capture_output=True)
    with pytest.raises(ArtefactError, match="Read-only file system"):
        write_json(path, path_of(task="other"))
    assert path.read_bytes() == before
