"""The rebuild matrix: which actions run after each edit of a project whose artifact is built."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from phibuild.model.tree import THE_FILE
from phibuild.store.index import hash_file
from phibuild.testing.checkpoint_edits import change_tensor, reshard, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.cases import (
    CALLS,
    CONVERTING,
    RECIPE,
    TEMPLATE,
    TENSOR,
    TOOLCHAIN,
    artifact,
    path,
)
from tests.backends.conftest import with_mark
from tests.backends.slices import tree_of
from tests.conftest import Project, Ran

pytestmark = pytest.mark.toolchain
A_TENSOR = "model.layers.0.self_attn.o_proj.weight"


@dataclass(frozen=True)
class BuiltProject:
    """A project whose artifact is up to date."""

    project: Project
    backend: str
    checkpoint: Path

    @property
    def artifact(self) -> Path:
        """The artifact, a file or a folder."""
        return self.project.folder / path(self.backend)

    @property
    def a_file(self) -> Path:
        """The artifact, or the largest file in its folder."""
        if self.artifact.is_file():
            return self.artifact
        return max(self.artifact.rglob("*"), key=lambda path: path.stat().st_size * path.is_file())

    def manifest(self) -> str:
        """The text of the artifact's manifest."""
        return Path(f"{self.artifact}.phi.json").read_text()

    def scons(self, *arguments: str, **environment: str) -> Ran:
        """Build; the manifest has the digests of the files afterwards."""
        ran = self.project.scons(*arguments, **environment)
        assert ran.status == 0, ran.text
        assert tree_of(self.artifact) == digests_of(self.artifact)
        return ran


def digests_of(artifact: Path) -> dict[str, str]:
    """The digests of the files on the disk."""
    if artifact.is_file():
        return {THE_FILE: str(hash_file(artifact))}
    files = (path for path in artifact.rglob("*") if not path.is_dir())
    return {path.relative_to(artifact).as_posix(): str(hash_file(path)) for path in files}


@pytest.fixture(scope="module", params=CALLS)
def first(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BuiltProject:
    """A project for each backend, built from nothing, which the tests start from."""
    backend: str = request.param
    folder = tmp_path_factory.mktemp(backend)
    seed = time.time_ns() % (1 << 31)
    checkpoint = write_checkpoint(folder / "tiny", FAMILIES["phi-3"], layers=2, shards=2, seed=seed)
    built = BuiltProject(Project(folder), backend, with_mark(checkpoint, seed))
    built.project.sconstruct(artifact(backend))
    assert built.scons().actions == CONVERTING[backend]
    return built


@pytest.fixture
def built(first: BuiltProject, project_of_tiny: Project) -> BuiltProject:
    """A project of the test's own with the same artifact, which is recalled. Tests share results,
    so each makes other edits."""
    checkpoint = project_of_tiny.folder / "tiny"
    shutil.copytree(first.checkpoint, checkpoint)
    project_of_tiny.sconstruct(artifact(first.backend))
    built = BuiltProject(project_of_tiny, first.backend, checkpoint)
    assert built.scons().actions == []
    return built


def test_edits_that_cost_nothing(built: BuiltProject, tmp_path: Path) -> None:
    """Edits after which no action runs, made one after the other in one project."""
    shard = sorted(built.checkpoint.glob("*.safetensors"))[0]
    before = built.manifest()

    def delete_a_file() -> None:
        built.a_file.unlink()

    def delete_the_artifact() -> None:
        shutil.rmtree(built.artifact) if built.artifact.is_dir() else built.artifact.unlink()

    def replace_a_file() -> None:
        path = built.a_file
        path.unlink()
        path.write_bytes(b"tampered")

    def delete_all() -> None:
        shutil.rmtree(built.project.folder / "dist")

    edits: dict[str, Callable[[], object]] = {
        "run twice": lambda: None,
        "touch": lambda: os.utime(shard),
        "readme": lambda: (built.checkpoint / "README.md").write_text("other words"),
        "reshard": lambda: reshard(built.checkpoint, 3),
        "reshard to one": lambda: reshard(built.checkpoint, 1),
        "delete one output file": delete_a_file,
        "delete the artifact": delete_the_artifact,
        "tamper with one": replace_a_file,
        "delete all outputs": delete_all,
        "delete .sconsign.dblite": lambda: (built.project.folder / ".sconsign.dblite").unlink(),
        "clean": lambda: built.project.scons("-c"),
    }
    for name, edit in edits.items():
        edit()
        assert built.scons().actions == [], name
        assert built.manifest() == before, name
    assert built.scons("-j4").text == "scons: `.' is up to date.\n"
    moved = Project(tmp_path / "elsewhere")
    built.project.folder.rename(moved.folder)
    assert BuiltProject(moved, built.backend, moved.folder / "tiny").scons().actions == []


def test_a_changed_tensor_and_its_revert_under_a_kept_time(built: BuiltProject) -> None:
    before = built.manifest()
    change_tensor(built.checkpoint, A_TENSOR)
    assert built.scons().actions == TENSOR[built.backend]
    assert built.manifest() != before
    times = {path: path.stat() for path in built.checkpoint.glob("*.safetensors")}
    change_tensor(built.checkpoint, A_TENSOR)
    for shard, stat in times.items():
        os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert built.scons().actions == []
    assert built.manifest() == before


def test_a_changed_recipe(built: BuiltProject) -> None:
    built.project.sconstruct(artifact(built.backend, "int8"))
    changed = built.scons("-j4").actions
    assert changed == RECIPE[built.backend]
    built.project.sconstruct(artifact(built.backend))
    assert built.scons().actions == []


def test_a_changed_template(built: BuiltProject) -> None:
    set_chat_template(built.checkpoint, "{{ messages[0]['content'] }}")
    text = built.project.phibuild("explain", path(built.backend)).text
    assert "chat_template changed: " in text
    text = built.project.phibuild("show", "--no-tensors", path(built.backend)).text
    for name in ("weights", "chat_template"):  # whichever of the actions has it
        assert text.count(f"\n  {name} = sha256:") == 1
    assert built.scons().actions == TEMPLATE[built.backend]


def test_an_artifact_changed_in_place_is_restored(built: BuiltProject) -> None:
    """The artifact may be a hard link to the store's copy, which is not used then either."""
    before = built.manifest()
    built.a_file.chmod(0o644)
    with built.a_file.open("r+b") as stream:
        stream.write(b"tampered")
    built.scons()
    assert built.manifest() == before
    assert not built.a_file.read_bytes().startswith(b"tampered")


def test_a_shard_that_is_missing_or_truncated(built: BuiltProject) -> None:
    before = built.manifest()
    shard = sorted(built.checkpoint.glob("*.safetensors"))[0]
    whole = shard.read_bytes()
    for spoil, code in (
        (shard.unlink, "PHI101"),
        (lambda: shard.write_bytes(whole[: len(whole) // 2]), "PHI102"),
    ):
        spoil()
        ran = built.project.scons()
        assert ran.status == 2
        assert f"[{code}]" in ran.text
        assert "Traceback" not in ran.text
        assert built.manifest() == before
    shard.write_bytes(whole)
    assert built.scons().actions == []


def test_another_toolchain_rebuilds_its_own_actions(built: BuiltProject, tmp_path: Path) -> None:
    """The lock moves a package to another version: a plugin's copy on the path, with an environment
    that is really installed."""
    plugin = f"phibuild_{built.backend}"
    moved_plugin(plugin, tmp_path / "plugins" / plugin)
    again = built.scons(PYTHONPATH=str(tmp_path / "plugins"))
    assert again.actions == TOOLCHAIN[built.backend]
    assert built.scons().actions == []


def moved_plugin(name: str, copy: Path) -> None:
    """A copy of a plugin whose lock has tqdm, which no artifact depends on, at another version."""
    source = Path(__file__).parent.parent.parent / "plugins" / name
    shutil.copytree(source, copy)
    if name == "phibuild_gguf":
        shutil.copytree(source.parent.parent / "third_party", copy / "third_party")
    lock = copy / "toolchain.lock"
    text, count = re.subn(r"tqdm==(?:.*\\\n)+.*\n", OTHER_TQDM, lock.read_text())
    assert count == 1
    lock.write_text(text)


OTHER_TQDM = """\
tqdm==4.67.1 --hash=sha256:26445eca388f82e72884e0d580d5464cd801a3ea01e63e5601bdff9ba6a48de2
"""
