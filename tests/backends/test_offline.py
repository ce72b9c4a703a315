"""A build uses no network, does not write to its source, runs no code or pickles from it, and waits
for work that another build is doing."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest

from phibuild.registry import load_registry
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.cases import CALLS, CONVERTING, INT4, artifact, path
from tests.backends.conftest import Tiny, with_mark
from tests.conftest import Project, Ran
from tests.firmware.tools import needed_tool

ALL = "".join(
    f"{CALLS[backend].format(name='m', precision='int4', more=INT4[backend])}\n"
    for backend in CALLS
)
PICKLE_THAT_WRITES = b"cposix\nsystem\n(S'touch %s'\ntR."
"""Python's pickle format, version 0: loading it runs the command."""


def sealed(project: Project, source: Path, *command: str) -> Ran:
    """Run a command in namespaces of its own: no network at all, and the source mounted read-only,
    so that not even root can write to it."""
    script = (
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$1" && shift && exec "$@"'
    )
    unshare = ("unshare", "--user", "--map-root-user", "--net", "--mount")
    return project.run(*unshare, "sh", "-c", script, str(source), str(project.folder), *command)


def listing(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Digest, time and mode of every file of a folder, and of the folder itself."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in (folder, *sorted(folder.rglob("*")))
    }


def install_toolchains(project: Project) -> None:
    """Install the toolchains, which needs the network once."""
    pythons = load_registry().pythons
    names = [name for name in (*pythons, "llama.cpp") if name in (*CALLS, "llama.cpp")]
    ran = project.phibuild("toolchain", "install", *names)
    assert ran.status == 0, ran.text


@pytest.mark.toolchain
def test_all_backends_build_without_network_from_a_source_that_cannot_be_written(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    source = tiny("phi-3", own_tokenizer=True)
    needed_tool("unshare")
    if sealed(project_of_tiny, source, "true").status != 0:
        pytest.skip("this kernel or user may not make namespaces")
    install_toolchains(project_of_tiny)
    interfaces = sealed(project_of_tiny, source, "cat", "/proc/net/dev").text.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert sealed(project_of_tiny, source, "touch", str(source / "config.json")).status != 0
    project_of_tiny.sconstruct('phi = env.PhiModel("tiny")\n' + ALL)
    before = listing(source)
    ran = sealed(project_of_tiny, source, "scons", "-Q")
    assert ran.status == 0, ran.text
    assert sorted(ran.actions) == sorted(chain(*CONVERTING.values()))
    assert set(ran.names("built")) == {path(backend) for backend in CALLS}
    assert listing(source) == before


@pytest.mark.toolchain
def test_two_builds_of_one_artifact_at_once_do_the_work_once(
    make_project: Callable[[str], Project], seed: int
) -> None:
    projects = [make_project("first"), make_project("second")]
    install_toolchains(projects[0])
    for project in projects:
        write_checkpoint(project.folder / "tiny", FAMILIES["phi-3"], layers=2, seed=seed)
        with_mark(project.folder / "tiny", seed)
        project.sconstruct(artifact("mlx"))
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(Project.scons, projects))
    assert [run.status for run in runs] == [0, 0], runs
    assert sorted(chain(*(run.actions for run in runs))) == sorted(CONVERTING["mlx"])
    first, second = (Path(f"{p.folder / path('mlx')}.phi.json").read_text() for p in projects)
    assert first == second


@pytest.mark.toolchain
@pytest.mark.parametrize("backend", CALLS)
def test_a_checkpoints_code_is_not_run_and_nothing_is_written_to_it(
    project_of_tiny: Project, tiny: Tiny, backend: str, tmp_path: Path
) -> None:
    """Here, unlike above, the source could be written to."""
    source = tiny("phi-3.5", shards=2, own_tokenizer=True)
    trace = tmp_path / "was-run"
    module = f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n"
    for name in ("configuration_phi3", "modeling_phi3", "tokenization_phi3"):
        (source / f"{name}.py").write_text(module)
    change_json(
        source / "config.json",
        auto_map={
            "AutoConfig": "configuration_phi3.Phi3Config",
            "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
        },
    )
    change_json(
        source / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tokenization_phi3.Phi3Tokenizer", None]},
    )
    before = listing(source)
    project_of_tiny.sconstruct(artifact(backend))
    ran = project_of_tiny.scons()
    assert ran.status == 0, ran.text
    assert ran.actions == CONVERTING[backend]
    assert not trace.exists()
    assert listing(source) == before


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "m.pt"])
def test_pickled_weights_are_refused_and_not_loaded(
    project_of_tiny: Project, tiny: Tiny, tmp_path: Path, name: str
) -> None:
    source = tiny("phi-3")
    for shard in source.glob("*.safetensors*"):
        shard.unlink()
    trace = tmp_path / "was-run"
    (source / name).write_bytes(PICKLE_THAT_WRITES % str(trace).encode())
    project_of_tiny.sconstruct(artifact("gguf"))
    ran = project_of_tiny.scons()
    assert (ran.status, ran.actions) == (2, [])
    assert "[PHI104]" in ran.text
    assert name in ran.text
    assert "safetensors" in ran.text
    assert not trace.exists()


def test_the_pickle_of_these_tests_runs_when_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    load = "import pickle, sys; pickle.load(sys.stdin.buffer)"
    pickled = PICKLE_THAT_WRITES % str(trace).encode()
    subprocess.run(["python3", "-c", load], input=pickled, check=True)
    assert trace.exists()


def change_json(document: Path, **changes: object) -> None:
    """Set fields of a JSON file."""
    document.write_text(json.dumps(json.loads(document.read_text()) | changes))
