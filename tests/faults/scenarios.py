"""What happens to builds: kills, moments, disks, neighbours, clocks, edits, bad workers.

`SCENARIOS` maps a name to a function of a trial and the number of its trials in a full run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.disks import mount, tmpfs
from tests.faults.trial import Build, Lost, Trial, Ugly, Wrong, check_error
from tests.source.hostile import hostile
from tests.store.test_damage import DAMAGES

TYPICAL = 1.6
"""Seconds that a build takes when nothing happens to it: the range of the moments."""


class Scenario(NamedTuple):
    """`run` raises a verdict if the build did not survive; `trials` are those of a full run."""

    run: Callable[[Trial], None]
    trials: int


def moment(trial: Trial) -> float:
    """A moment of a build, in seconds after its start."""
    return trial.random.uniform(0.05, TYPICAL)


def begun(trial: Trial) -> Build:
    """A build that runs until a moment; half of them rebuild after an edit."""
    if trial.number % 2:
        trial.survives(trial.scons())
        trial.write_text("two")
    build = trial.start(*trial.random.choice(([], ["-j2"])))
    build.wait_for(moment(trial))
    return build


def kill_scons(trial: Trial) -> None:
    build = begun(trial)
    build.signal(signal.SIGKILL)
    trial.survives(build.end(), killed=True)
    trial.heals()


def kill_group(trial: Trial) -> None:
    build = begun(trial)
    build.signal(signal.SIGKILL, group=True)
    trial.survives(build.end(), killed=True)
    trial.heals()


def kill_worker(trial: Trial) -> None:
    build = trial.start()
    wait_for_worker(trial, build)
    time.sleep(trial.random.uniform(0, 0.3))
    for number in trial.workers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    trial.survives(build.end())
    trial.heals()


def interrupt(trial: Trial) -> None:
    """Ctrl-C reaches all processes of the terminal's foreground group."""
    end_by(trial, signal.SIGINT, group=True)


def terminate(trial: Trial) -> None:
    """SIGTERM reaches SCons alone, as from a build server."""
    end_by(trial, signal.SIGTERM, group=False)


def hang_up(trial: Trial) -> None:
    end_by(trial, signal.SIGHUP, group=False)


def end_by(trial: Trial, number: signal.Signals, *, group: bool) -> None:
    build = begun(trial)
    build.signal(number, group=group)
    ended = build.end()
    if "Traceback" in ended.text and "SCons/Script" not in ended.text:
        raise Ugly(ended.text[-1500:])
    trial.survives(ended, killed=True)
    trial.heals()


def wait_for_worker(trial: Trial, build: Build) -> None:
    """Until a worker runs, or the build has ended."""
    while build.wait_for(0.02) and not trial.workers():
        pass


def full_store(trial: Trial) -> None:
    """The disk of the store fills up at some size, then is larger."""
    with tmpfs(trial.root / "disk", f"{trial.random.randrange(300, 3000)}k") as disk:
        trial.use_store(disk / "store")
        trial.survives(trial.scons())
        mount("-o", "remount,size=64m", disk)
        trial.heals()


def full_target(trial: Trial) -> None:
    dist = trial.folder / "dist"
    with tmpfs(dist, f"{trial.random.randrange(100, 2200)}k"):
        trial.survives(trial.scons())
    shutil.rmtree(dist, ignore_errors=True)
    trial.heals()


def builds_in_one_folder(trial: Trial) -> None:
    """The second one is refused, or comes after the first."""
    if trial.number % 2:
        trial.survives(trial.scons())
        trial.write_text("two")
    builds = []
    for _ in range(3):
        builds.append(trial.start())
        builds[-1].wait_for(trial.random.uniform(0, 0.4))
    for build in builds:
        ended = build.end()
        if ended.status != 0:
            check_error(ended)
    trial.heals()


def builds_in_two_folders(trial: Trial) -> None:
    """They share the store, and each makes what the other makes."""
    other = trial.root / "other"
    shutil.copytree(trial.folder, other)
    if trial.number % 2:
        trial.survives(trial.scons())
        shutil.rmtree(trial.folder / "dist")
    builds = [trial.start(), trial.start(folder=other), trial.start(folder=other)]
    statuses = [build.end() for build in builds]
    for ended in statuses:
        if ended.status != 0:
            check_error(ended)
    trial.heals()
    same = (trial.folder / "dist/joined.bin").read_bytes()
    if statuses[1].status == 0 and (other / "dist/joined.bin").read_bytes() != same:
        raise Wrong("the folders' artifacts differ")


def odd_times(trial: Trial) -> None:
    """An edit that keeps the file's time, or gives it an old or future one."""
    trial.survives(trial.scons())
    path = trial.folder / "in.txt"
    kept = path.stat().st_mtime
    trial.write_text("two")
    when = trial.random.choice((kept, 0.0, kept - 1e6, time.time() + 1e6))
    os.utime(path, (when, when))
    trial.survives(trial.scons())
    trial.heals()


def edit_while_building(trial: Trial) -> None:
    """The source changes at a moment, and half of the time changes back; SCons may see either, and
    what it says it built is what the source says in the end."""
    build = trial.start()
    build.wait_for(moment(trial))
    trial.write_text("two")
    if trial.number % 2:
        build.wait_for(trial.random.uniform(0, 0.4))
        trial.write_text("one")
    ended = build.end()
    if ended.status != 0:
        check_error(ended)
    trial.heals()
    for text in ("one", "two"):  # what was recorded under either's key is right
        trial.write_text(text)
        trial.survives(trial.scons())


def edit_worker_while_building(trial: Trial) -> None:
    """A worker's script is edited at a moment, and then edited back."""
    build = trial.start()
    build.wait_for(moment(trial))
    path = trial.folder / "spread.py"
    text = path.read_text()
    path.write_text(text.replace("* 1024", "* 1023"))
    build.wait_for(trial.random.uniform(0, 0.4))
    path.write_text(text)
    ended = build.end()
    if ended.status != 0:
        check_error(ended)
    trial.heals()


def disturb_artifacts(trial: Trial) -> None:
    """Artifacts are deleted, cut off or edited after a build or while one runs."""
    trial.survives(trial.scons())
    dist = trial.folder / "dist"
    path = dist / trial.random.choice(("parts/1.bin", "joined.bin", "parts.phi.json"))
    change = trial.random.choice(("unlink", "cut", "append", "empty"))
    if trial.number % 2:
        trial.write_text("two")
        build = trial.start()
        build.wait_for(moment(trial))
        disturb(path, change)
        ended = build.end()
        if ended.status != 0:
            check_error(ended)
    else:
        disturb(path, change)
    ended = trial.scons()
    if ended.status != 0:
        check_error(ended)
        if "[PHI304]" not in ended.text:  # the user's own bytes there are theirs to move
            raise Lost(ended.text[-800:])
        shutil.rmtree(dist)
    trial.heals()


def disturb(path: Path, change: str) -> None:
    try:
        if change == "unlink":
            path.unlink()
            return
        path.chmod(0o644)
        content = path.read_bytes()
        path.write_bytes({"cut": content[:-7], "append": content + b"x", "empty": b""}[change])
    except FileNotFoundError:
        pass


CONTROLS = "\x1b[2J\x1b]0;title\x07 [bold]x[/] [/red]"
STRAY = b'hello\n[1]\n7\n"x"\nnull\n{"recall": 7}\n\xff\xfe\n'
BAD = {
    "stray lines": f"os.write(out, {STRAY!r})",
    "no newline": 'os.write(out, b"{" * 100_000)',
    "deep": 'os.write(out, b"[" * 50_000 + b"\\n")',
    "odd messages": "".join(
        f"os.write(out, json.dumps({message!r}).encode() + b'\\n');"
        for message in (
            {"progress": "x"},
            {"progress": 0.5},
            {"remember": [1, 2]},
            {"remember": [99, "k", "f", 0, 1, "x"]},
            {"written": [99, "../../x", "zz"]},
            {"written": "x"},
            {"error": 7},
            {"errno": "x"},
            {"unknown": 1},
        )
    ),
    "closed pipe": "os.close(out)",
    "daemon": 'subprocess.Popen(["setsid", "sleep", "100"], cwd="/")',
    "daemon that holds all": 'subprocess.Popen(["setsid", "sleep", "100"], close_fds=False)',
    "linked input": "os.link(job.inputs['text'].resolve(), job.scratch / 'mine')",
    "many words": 'print("x" * 1000 + "\\n", flush=True); os.write(1, b"y" * 30_000_000)',
    "signals ignored": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "output twice": "job.output.mkdir(); job.output.rmdir()",
    "other folder": 'os.chdir("/")',
    "terminal": f"print({CONTROLS!r}, flush=True)",
    "terminal and death": f"print({CONTROLS!r}, flush=True); os._exit(3)",
}
HEAD = """\
import json, os, signal, subprocess
import phiworker as _phiworker
def bad(job):
    out = int(os.environ["PHIBUILD_MESSAGES"])
    {bad}
"""


def bad_workers(trial: Trial) -> None:
    """A worker that misbehaves and then works, or fails: its own error is what is reported."""
    kind = list(BAD)[trial.number % len(BAD)]
    fails = trial.number // len(BAD) % 2 == 1
    text = (trial.folder / "spread.py").read_text()
    bad = text.replace("def main(job):\n", "def main(job):\n    bad(job)\n")
    if fails:
        bad = bad.replace("    child.wait()\n", "    raise phiworker.WorkerError('no more')\n")
    trial.project.write("spread.py", HEAD.format(bad=BAD[kind]) + bad)
    ended = trial.scons()
    if fails and ended.status == 0:
        raise Wrong(f"{kind}: a worker failed, and the build did not")
    is_named = "no more" in ended.text or "[PHI407] spread sent what is not a message" in ended.text
    if fails and not is_named and kind not in ("closed pipe", "terminal and death"):
        raise Lost(f"{kind}: the worker's error is not shown: {ended.text[-800:]}")
    if "\x1b[2J" in ended.text:
        raise Ugly(f"{kind}: a worker's log reaches the terminal as it is")
    trial.survives(ended)
    trial.project.write("spread.py", text)
    trial.heals()


def damaged_store(trial: Trial) -> None:
    trial.survives(trial.scons())
    list(DAMAGES.values())[trial.number](trial.store)
    shutil.rmtree(trial.folder / "dist")
    trial.write_text("two")
    trial.heals()


HOSTILE = tuple(hostile())
BUILDERS = """\
model = env.PhiModel("tiny")
env.GGUF("dist/q.gguf", model, quant="Q4_0")
env.OnnxGenAI("dist/onnx", model, precision="int4", execution_provider="cpu")
env.OpenVINO("dist/ov", model, precision="int4")
env.MLX("dist/mlx", model, precision="int4")
"""


def hostile_checkpoint(trial: Trial) -> None:
    """It is refused when the SConstruct is read, unless it is a right one after all."""
    case = HOSTILE[trial.number * len(HOSTILE) // OF_HOSTILE]
    folder = write_checkpoint(trial.folder / "tiny", FAMILIES["phi-3.5"], layers=1, shards=2)
    case.edit(folder)
    trial.project.sconstruct(BUILDERS)
    ended = trial.scons("-n")
    if ended.status != 0:
        check_error(ended)
    elif not case.may_be_right:
        raise Wrong(f"{case.name} is believed")


OF_HOSTILE = 160
SCENARIOS: dict[str, Scenario] = {
    "kill -9 of SCons": Scenario(kill_scons, 50),
    "kill -9 of its group": Scenario(kill_group, 30),
    "kill -9 of a worker": Scenario(kill_worker, 30),
    "Ctrl-C": Scenario(interrupt, 30),
    "SIGTERM": Scenario(terminate, 30),
    "SIGHUP": Scenario(hang_up, 10),
    "full disk of the store": Scenario(full_store, 20),
    "full disk of the targets": Scenario(full_target, 20),
    "builds in one folder": Scenario(builds_in_one_folder, 20),
    "builds in two folders": Scenario(builds_in_two_folders, 20),
    "odd times": Scenario(odd_times, 20),
    "edits while building": Scenario(edit_while_building, 40),
    "edits of code while building": Scenario(edit_worker_while_building, 20),
    "disturbed artifacts": Scenario(disturb_artifacts, 40),
    "bad workers": Scenario(bad_workers, 2 * len(BAD)),
    "damaged stores": Scenario(damaged_store, len(DAMAGES)),
    "hostile checkpoints": Scenario(hostile_checkpoint, OF_HOSTILE),
}
