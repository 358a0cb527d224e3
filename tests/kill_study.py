"""Kill real runs at random moments, go on with the same command, and compare with a run that was left alone.

`make test-kill KILLS=200` runs it, or `python tests/kill_study.py --help`. Every life of a run is a process
of its own, started by the command that started the first. It is killed (SIGKILL, the whole process group, or
the parent alone) at a moment drawn over the length of an uninterrupted run, while a child engine is at work,
or while a file is being written. When a life ends by itself, the run's results must be those of the run that
nobody touched, byte for byte, and nothing else may be left: no process, no journal, no temporary file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIPELINES = ("oja-smoke", "pca-network-smoke", "ei-balance-smoke", "bcm-smoke")
COMPARED = ("trajectories.npz", "path.json", "front.json", "front.csv", "validation.json", "comparison.json")
PLACES = ("starting", "simulate", "fit", "search", "validate", "compare", "report", "between stages")
RUN = """\
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from pipelines.cli import main
sys.argv[0] = "discover"
main()
"""
WAYS = ("at a random moment",) * 6 + ("while an engine runs", "engine, parent alone", "while writing")
LONGEST_LIFE = 1800.0
SECONDS_TO_DIE = 5.0


@dataclass
class Study:
    """What happened so far.

    Parameters
    ----------
    folder : Path
        Where runs and kernel caches are.
    rng : random.Random
    cold_every : int
        One run in so many begins with an empty cache of kernels, and in each of its lives all kernels or half
        of them are removed at a random moment; 0 for none.
    say : callable
        Told what is going on.
    """

    folder: Path
    rng: random.Random
    cold_every: int = 4
    say: Callable[[str], None] = lambda line: print(line, flush=True)
    places: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    identical: int = 0
    runs: int = 0
    compiling: int = 0
    removals: int = 0
    cold: int = 0
    resumed: int = 0
    survivors: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        """Kernels that all warm runs share."""
        return Path(os.environ.get("NUMBA_CACHE_DIR") or self.folder / "kernels")

    def study(self, pipeline: str, kills: int) -> None:
        """Kill runs of one pipeline so many times."""
        length, wanted = self.reference(pipeline)
        done = 0
        while done < kills:
            done += self.one_run(pipeline, kills - done, length, wanted)

    def reference(self, pipeline: str) -> tuple[float, dict[str, bytes]]:
        """Return the length of an uninterrupted run with compiled kernels, and its results."""
        wanted: dict[str, bytes] = {}
        for attempt in ("first", "second"):
            results = self.folder / f"reference-{pipeline}-{attempt}"
            started = time.monotonic()
            process = start(pipeline, results, self.cache)
            _, errors = process.communicate()
            length = time.monotonic() - started
            if process.returncode:
                raise SystemExit(f"the uninterrupted run of {pipeline} failed:\n{errors}")
            found = contents(results / pipeline)
            if wanted and found != wanted:
                raise SystemExit(f"two uninterrupted runs of {pipeline} differ: {differing(found, wanted)}")
            wanted = found
            compiled = "compiling" in (results / pipeline / "events.jsonl").read_text()
            if not compiled:
                break
        self.say(f"{pipeline}: an uninterrupted run takes {length:.1f} s")
        return length, wanted

    def one_run(self, pipeline: str, most: int, length: float, wanted: dict[str, bytes]) -> int:
        """Kill one run up to so many times, let it finish, and compare; return the number of kills."""
        self.runs += 1
        results = self.folder / f"{pipeline}-{self.runs}"
        is_cold = self.cold_every > 0 and self.runs % self.cold_every == 0
        cache = self.folder / f"kernels-{self.runs}" if is_cold else self.cache
        kills = 0
        while kills < most:
            way = self.rng.choice(WAYS)
            place = self.one_life(pipeline, results, cache, way, length, is_cold)
            if place is None:
                break
            kills += 1
            self.kills += 1
            self.cold += is_cold
            self.places[place] += 1
            self.ways[way] += 1
        else:
            process = start(pipeline, results, cache)
            self.ended(process, results / pipeline)
        faults = self.check(results / pipeline, wanted)
        self.faults += faults
        self.identical += 0 if faults else kills
        self.resumed += (results / pipeline / "events.jsonl").read_text().count("going on after")
        outcome = "; ".join(faults) or "identical"
        self.say(f"{pipeline}, run {self.runs}{' (no kernels)' * is_cold}: {kills} kills, {outcome}")
        if not faults:
            shutil.rmtree(results)
        if is_cold:
            shutil.rmtree(cache, ignore_errors=True)
        return kills

    def one_life(
        self, pipeline: str, results: Path, cache: Path, way: str, length: float, loses_kernels: bool = False
    ) -> str | None:
        """Start or go on with a run and kill it; return where that hit, or None where it ended first."""
        run = results / pipeline
        known = len(events(run))
        process = start(pipeline, results, cache)
        is_due = {
            "while an engine runs": engine_at_work(process.pid, self.rng.uniform(0.0, 0.5)),
            "engine, parent alone": engine_at_work(process.pid, self.rng.uniform(0.0, 0.5)),
            "while writing": writing(run, self.rng.randrange(6)),
        }.get(way, moment(self.rng.uniform(0.0, 0.35 * length)))
        is_lost = moment(self.rng.uniform(0.0, 0.35 * length)) if loses_kernels else None
        while process.poll() is None and not is_due():
            if is_lost is not None and is_lost():
                self.removals += remove_kernels(cache, self.rng)
                is_lost = None
            time.sleep(0.0005 if way == "while writing" else 0.005)
        if process.poll() is not None:
            self.ended(process, run)
            return None
        if way == "engine, parent alone":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.bury(process.pid)
        new = events(run)[known:]
        self.compiling += bool(new) and new[-1].get("message", "").startswith("compiling")
        return place_of(new)

    def ended(self, process: subprocess.Popen[str], run: Path) -> None:
        """Note a life that ended by itself with an error."""
        _, errors = process.communicate()
        if process.returncode:
            self.faults.append(f"{run} ended with {process.returncode}: {errors[-2000:]}")

    def bury(self, group: int) -> None:
        """Make sure that nothing of a killed run goes on."""
        deadline = time.monotonic() + SECONDS_TO_DIE
        while (left := alive(group)) and time.monotonic() < deadline:
            time.sleep(0.02)
        if left:
            self.survivors += 1
            self.faults.append(f"processes outlived their run: {left}")
            os.killpg(group, signal.SIGKILL)

    def check(self, run: Path, wanted: dict[str, bytes]) -> list[str]:
        """Return what is wrong with a finished run."""
        faults = [f"{run / name} differs" for name in differing(contents(run), wanted)]
        litter = [path.name for path in run.rglob(".*") if path.name != ".lock"]
        return faults + ([f"left over in {run}: {', '.join(sorted(litter))}"] if litter else [])

    def summary(self, pipelines: list[str]) -> str:
        """Return the result in a few lines."""
        tasks = ", ".join(name.removesuffix("-smoke") for name in pipelines)
        places = ", ".join(f"{place} {self.places[place]}" for place in PLACES)
        ways = ", ".join(f"{way} {count}" for way, count in sorted(self.ways.items()))
        return "\n".join(
            [
                f"{self.kills} random kills over all stages of {tasks}: {self.identical} identical results, "
                f"{self.kills - self.identical} lost",
                f"  where they hit: {places}",
                f"  {self.cold} of them in runs that began without compiled kernels, "
                f"{self.compiling} seen to hit the compiler; kernels were removed {self.removals} times",
                f"  how: {ways}",
                f"  {self.runs} runs; {self.resumed} times a stage went on from its journal; "
                f"{self.survivors} processes outlived their run",
                *(f"  fault: {fault}" for fault in self.faults),
            ]
        )


def start(pipeline: str, results: Path, cache: Path) -> subprocess.Popen[str]:
    """Start a run, or go on with it, as leader of a process group."""
    code = [sys.executable, "-c", RUN, "run", str(ROOT / "pipelines" / f"{pipeline}.toml")]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return subprocess.Popen(
        [*code, "--results", str(results), "--threads", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def remove_kernels(cache: Path, rng: random.Random) -> bool:
    """Remove all compiled kernels or half of them; say whether there were any."""
    files = sorted(path for path in cache.rglob("*") if path.suffix in (".nbi", ".nbc"))
    for path in files if rng.random() < 0.5 else rng.sample(files, len(files) // 2):
        path.unlink(missing_ok=True)
    return bool(files)


def moment(seconds: float) -> Callable[[], bool]:
    """Due so many seconds from now."""
    due = time.monotonic() + seconds
    return lambda: time.monotonic() >= due


def engine_at_work(parent: int, seconds: float) -> Callable[[], bool]:
    """Due so many seconds after a child process was seen for the first time."""
    seen: list[float] = []

    def is_due() -> bool:
        if not seen and children(parent):
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() - seen[0] >= seconds

    return is_due


def writing(run: Path, number: int) -> Callable[[], bool]:
    """Due while the temporary file of this number is there."""
    seen: set[str] = set()

    def is_due() -> bool:
        try:
            now = {entry.name for entry in os.scandir(run) if entry.name.endswith(".tmp")} - seen
        except FileNotFoundError:
            return False
        if now and len(seen) >= number:
            return True
        seen.update(now)
        return False

    return is_due


def children(parent: int) -> list[int]:
    """Return the child processes of a process."""
    return [int(pid) for pid, of, _, state in processes() if int(of) == parent and state != "Z"]


def alive(group: int) -> list[int]:
    """Return the processes of a group; those that wait to be reaped are dead."""
    return [int(pid) for pid, _, of, state in processes() if int(of) == group and state != "Z"]


def processes() -> list[tuple[str, str, str, str]]:
    """Return process, parent, group and state of all processes."""
    if not Path("/proc/self/stat").exists():
        table = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split() for line in table.splitlines()]
        return [(pid, parent, group, state[0]) for pid, parent, group, state in rows]
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                state, parent, group = Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()[:3]
            except OSError:
                continue
            found.append((entry.name, parent, group, state))
    return found


def events(run: Path) -> list[dict[str, str]]:
    """Return what a run wrote into ``events.jsonl``; a line that was cut off is left out."""
    path = run / "events.jsonl"
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append({})
    return found


def place_of(new: list[dict[str, str]]) -> str:
    """Return the stage in which a life with these events was cut off."""
    last = next((event for event in reversed(new) if event.get("event") != "up to date"), {})
    if not last:
        return "starting"
    return "between stages" if last["event"] == "end" else last["stage"]


def contents(run: Path) -> dict[str, bytes]:
    """Return the results of a run that must not change."""
    return {name: (run / name).read_bytes() for name in COMPARED if (run / name).exists()}


def differing(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Return the names of files that are not the same in both."""
    return [name for name in COMPARED if name not in found or found[name] != wanted.get(name)]


def main(arguments: list[str] | None = None) -> int:
    """Run the study; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="kills over all pipelines (default 30)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--pipelines", default=",".join(PIPELINES), help="names, with commas between")
    parser.add_argument(
        "--cold-every", type=int, default=4, help="one run in so many compiles its kernels; 0 for none"
    )
    parser.add_argument("--folder", type=Path, help="where the runs land (a temporary folder)")
    asked = parser.parse_args(arguments)
    pipelines = asked.pipelines.split(",")
    if asked.kills < 1 or any(not re.fullmatch(r"[\w-]+", name) for name in pipelines):
        parser.error("--kills must be positive and --pipelines names of files in pipelines/")
    if asked.folder:
        asked.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="kill-study-", dir=asked.folder))
    study = Study(folder, random.Random(asked.seed), asked.cold_every)
    for number, pipeline in enumerate(pipelines):
        share, rest = divmod(asked.kills, len(pipelines))
        study.study(pipeline, share + (number < rest))
    print(study.summary(pipelines), flush=True)
    if study.faults:
        print(f"  the runs in question are in {folder}", flush=True)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
