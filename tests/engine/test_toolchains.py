"""Python toolchains: installed on first use, shared, repaired, removed, and identified in keys.

A plugin of the tests' own locks one tiny package, whose wheels are written here and found through
PIP_FIND_LINKS: the real uv installs them, and no network is needed.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phibuild.engine.declaration import CURRENT
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action
from phibuild.model.errors import ToolchainError
from phibuild.model.facts import Facts
from phibuild.offers import PythonToolchain
from phibuild.registry import load_registry
from phibuild.store import Store
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from phibuild.toolchain.python import _environment, facts_of_current, facts_of_lock
from tests.conftest import Project
from tests.engine.tiny_plugin import SCONSTRUCT, TinyPlugin


def a_model(project: Project) -> None:
    write_checkpoint(project.folder / "model", FAMILIES["phi-3"], layers=1)


def making(text: str) -> int:
    """How often an installation was reported."""
    return text.count("toolchain tiny")


def names(facts: Facts) -> dict[str, str]:
    return {fact.name: fact.value for fact in facts}


def test_a_build_installs_the_toolchain_that_it_needs(project: Project, plugin: TinyPlugin) -> None:
    a_model(project)
    project.sconstruct(SCONSTRUCT)
    assert "tiny         python  -" in project.phibuild("toolchain", "list").text
    ran = project.scons()
    assert ran.status == 0, ran.text
    assert "toolchain tiny" in ran.text
    version, prefix = (project.folder / "out.txt").read_text().split()
    assert version == "1.0"
    assert Path(prefix).is_relative_to(project.environment["PHIBUILD_STORE"])
    assert "tiny         python  installed" in project.phibuild("toolchain", "list").text


def test_declaring_installs_no_toolchain(project: Project, plugin: TinyPlugin) -> None:
    a_model(project)
    project.sconstruct(SCONSTRUCT)
    assert project.scons("-n").status == 0
    assert project.phibuild("plan").status == 0
    assert not (Path(project.environment["PHIBUILD_STORE"]) / "toolchains").exists()


def test_projects_share_a_toolchain(project: Project, plugin: TinyPlugin, tmp_path: Path) -> None:
    first = project.phibuild("toolchain", "install", "tiny")
    second = project.phibuild("toolchain", "install", "tiny")
    assert [making(first.text), making(second.text)] == [1, 0]
    other = Project(tmp_path / "other", project.environment)
    other.folder.mkdir()
    a_model(other)
    other.sconstruct(SCONSTRUCT)
    ran = other.scons()
    assert ran.status == 0, ran.text
    assert making(ran.text) == 0


def test_two_processes_at_once_install_a_toolchain_once(
    project: Project, plugin: TinyPlugin
) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [
            run.result()
            for run in [
                pool.submit(project.phibuild, "toolchain", "install", "tiny") for _ in range(2)
            ]
        ]
    assert [run.status for run in runs] == [0, 0], runs
    assert sum(making(run.text) for run in runs) == 1


def test_a_partial_toolchain_is_installed_again(shop: Workshop, plugin: TinyPlugin) -> None:
    folder = shop.toolchains.interpreters.path_of(plugin.toolchain)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "left-behind").touch()
    assert not shop.toolchains.interpreters.is_installed(plugin.toolchain)
    python = shop.toolchains.python_of("tiny")
    assert not (folder / "left-behind").exists()
    assert version_in(python) == "1.0"


def test_a_toolchain_without_its_base_interpreter_is_installed_again(
    shop: Workshop, plugin: TinyPlugin
) -> None:
    python = shop.toolchains.python_of("tiny")
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert version_in(shop.toolchains.python_of("tiny")) == "1.0"


def test_stores_that_share_toolchains_by_a_link_share_what_python_compiles_too(
    shop: Workshop, plugin: TinyPlugin, tmp_path: Path
) -> None:
    """Python keeps it by the names of modules' files: they have to be the same."""
    python = shop.toolchains.python_of("tiny")
    other = Store(tmp_path / "other-store")
    (other.root / "toolchains").symlink_to(shop.store.root / "toolchains")
    assert Workshop.of(other, shop.registry).toolchains.python_of("tiny") == python


def test_a_failed_installation_leaves_nothing_and_says_why(
    project: Project, plugin: TinyPlugin
) -> None:
    (wheel,) = plugin.wheels.iterdir()
    content = wheel.read_bytes()
    wheel.unlink()
    ran = project.phibuild("toolchain", "install", "tiny")
    assert ran.status != 0
    assert "[PHI604]" in ran.text
    assert "phitiny" in ran.text
    assert "Traceback" not in ran.text
    toolchains = Path(project.environment["PHIBUILD_STORE"]) / "toolchains"
    assert [path.suffix for path in toolchains.iterdir()] == [".log"]
    wheel.write_bytes(content)
    assert project.phibuild("toolchain", "install", "tiny").status == 0


def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    project: Project, plugin: TinyPlugin
) -> None:
    (wheel,) = plugin.wheels.iterdir()
    with zipfile.ZipFile(wheel, "a") as more:
        more.writestr("smuggled.py", "")
    ran = project.phibuild("toolchain", "install", "tiny")
    assert ran.status != 0
    assert "[PHI604]" in ran.text


def test_a_removed_toolchain_is_installed_again_when_it_is_needed(
    project: Project, plugin: TinyPlugin
) -> None:
    project.phibuild("toolchain", "install", "tiny")
    assert "tiny is removed" in project.phibuild("toolchain", "remove", "tiny").text
    assert "tiny         python  -" in project.phibuild("toolchain", "list").text
    assert "tiny was not installed" in project.phibuild("toolchain", "remove", "tiny").text
    assert making(project.phibuild("toolchain", "install", "tiny").text) == 1


def test_removing_a_toolchain_keeps_its_artifacts(project: Project, plugin: TinyPlugin) -> None:
    a_model(project)
    project.sconstruct(SCONSTRUCT)
    project.scons()
    compiled = Path(project.environment["PHIBUILD_STORE"]) / "bytecode"
    assert any("tiny-" in str(path) for path in compiled.rglob("*.pyc"))
    project.phibuild("toolchain", "remove", "tiny")
    assert not any("tiny-" in str(path) for path in compiled.rglob("*.pyc"))
    (project.folder / "out.txt").unlink()
    ran = project.scons()
    assert (ran.status, ran.actions, making(ran.text)) == (0, [], 0), ran.text
    assert (project.folder / "out.txt").exists()


def test_a_new_pin_rebuilds_and_is_named(project: Project, plugin: TinyPlugin) -> None:
    a_model(project)
    project.sconstruct(SCONSTRUCT)
    project.scons()
    plugin.lock("2.0")
    assert "toolchain.tiny.phitiny" in project.phibuild("explain", "out.txt").text
    ran = project.scons()
    assert (ran.actions, making(ran.text)) == (["tiny.write"], 1), ran.text
    assert (project.folder / "out.txt").read_text().startswith("2.0 ")
    plugin.lock("1.0")
    assert project.scons().actions == []


def test_a_pin_moves_the_facts_of_its_own_toolchain_only(plugin: TinyPlugin) -> None:
    before = names(facts_of_lock(plugin.toolchain))
    moved = plugin.folder / "moved.lock"
    moved.write_text((plugin.folder / "tiny.lock").read_text().replace("1.0", "2.0"))
    after = names(facts_of_lock(PythonToolchain("tiny", moved)))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"toolchain.tiny", "toolchain.tiny.phitiny"}
    assert (before["toolchain.tiny.phitiny"], after["toolchain.tiny.phitiny"]) == ("1.0", "2.0")


def test_comments_and_order_in_a_lock_move_nothing(tmp_path: Path) -> None:
    lines = ["alpha==1 --hash=sha256:00", "beta==2 --hash=sha256:11"]
    lock, other = tmp_path / "lock", tmp_path / "other"
    lock.write_text("\n".join(lines))
    other.write_text("# made by hand\n" + "\n\n".join(reversed(lines)) + "\n")
    assert facts_of_lock(PythonToolchain("tiny", lock)) == facts_of_lock(
        PythonToolchain("tiny", other)
    )


@pytest.mark.parametrize("line", ["phitiny", "phitiny>=1.0", "phitiny @ file:///tmp/phitiny.whl"])
def test_a_lock_that_does_not_pin_is_refused(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "tiny.lock"
    lock.write_text(line)
    with pytest.raises(ToolchainError, match="does not pin a package") as refusal:
        facts_of_lock(PythonToolchain("tiny", lock))
    assert refusal.value.code == "PHI604"


def test_current_is_the_running_interpreter_with_facts_of_its_own(
    shop: Workshop, plugin: TinyPlugin
) -> None:
    have_phitiny(plugin.folder, "1.0")
    assert shop.toolchains.python_of(f"{CURRENT}tiny") == Path(sys.executable)
    action = Action("tiny.write", Path(), toolchain="tiny")
    locked = shop.toolchains.facts(action)
    current = names(shop.toolchains.facts(action._replace(toolchain=f"{CURRENT}tiny")))
    assert current != names(locked)
    assert current["toolchain.tiny"] == "current"
    assert current["toolchain.tiny.phitiny"] == "1.0"
    assert not shop.toolchains.interpreters.root.exists()


def test_another_version_in_the_current_interpreter_moves_its_facts(
    plugin: TinyPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(plugin.folder))
    have_phitiny(plugin.folder, "1.5")
    assert names(facts_of_current(plugin.toolchain))["toolchain.tiny.phitiny"] == "1.5"


def test_a_build_in_the_current_interpreter(project: Project, plugin: TinyPlugin) -> None:
    """Its packages have to be installed there for good: a worker does not see PYTHONPATH."""
    a_model(project)
    project.sconstruct('env.Tiny("out.txt", env.PhiModel("model"), toolchain="current")\n')
    ran = project.scons()
    assert ran.status == 2
    assert '[PHI605] toolchain="current" lacks phitiny' in ran.text
    assert "pip install 'phibuild[tiny]'" in ran.text
    assert f"{project.folder / 'SConstruct'}, line 4" in ran.text
    assert ran.actions == []


def test_another_word_than_current_is_refused(project: Project, plugin: TinyPlugin) -> None:
    a_model(project)
    project.sconstruct('env.Tiny("out.txt", env.PhiModel("model"), toolchain="system")\n')
    ran = project.scons()
    assert ran.status == 2
    assert "[PHI202] toolchain='system' is not supported" in ran.text


def test_identity_is_known_without_importing_what_is_locked(
    plugin: TinyPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(plugin.folder))
    have_phitiny(plugin.folder, "1.0", module='raise RuntimeError("imported")\n')
    assert facts_of_lock(plugin.toolchain)
    assert facts_of_current(plugin.toolchain)


def test_the_identity_of_every_installed_toolchain_costs_no_framework() -> None:
    program = (
        "import sys; from phibuild.registry import load_registry;"
        "from phibuild.toolchain.python import facts_of_lock;"
        "print(sum(len(facts_of_lock(one)) > 2 for one in load_registry().pythons.values()));"
        "print([n for n in ('numpy', 'torch', 'transformers', 'onnx') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == [str(len(load_registry().pythons)), "[]"], done.stderr


def have_phitiny(folder: Path, version: str, *, module: str = "") -> None:
    """Make the package look installed in an interpreter that has this folder on its path."""
    info = folder / f"phitiny-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: phitiny\nVersion: {version}\n")
    (folder / "phitiny.py").write_text(module or f'VERSION = "{version}"\n')


def version_in(python: Path) -> str:
    """The version that an interpreter finds, without our path."""
    command = [python, "-I", "-c", "import phitiny; print(phitiny.VERSION)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_lock_alone_says_what_is_installed(tmp_path: Path) -> None:
    user = {
        "HOME": "/home/u",
        "UV_INDEX": "i",
        "PIP_FIND_LINKS": "a b",
        "https_proxy": "p",
        "UV_NO_BINARY": "1",
        "UV_OVERRIDE": "x",
        "PYTHONPATH": "y",
        "LD_PRELOAD": "z",
    }
    assert _environment(user, tmp_path) == {
        "HOME": "/home/u",
        "UV_INDEX": "i",
        "https_proxy": "p",
        "UV_FIND_LINKS": "a,b",
        "UV_CACHE_DIR": str(tmp_path),
    }
