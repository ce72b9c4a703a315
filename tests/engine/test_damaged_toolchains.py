"""A damaged toolchain is noticed, named and repaired."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phibuild.engine import upkeep
from phibuild.engine.building.tools import differences
from phibuild.engine.workshop import Workshop
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project
from tests.engine.test_toolchain_removal import environment, native  # noqa: F401 - a fixture
from tests.engine.tiny_plugin import SCONSTRUCT, TinyPlugin


@pytest.fixture
def installed(project: Project, plugin: TinyPlugin) -> Project:
    ran = project.phibuild("toolchain", "install", "tiny")
    assert ran.status == 0, ran.text
    return project


def module_of(project: Project) -> Path:
    """The one module of the package in the environment."""
    (module,) = environment(project).rglob("phitiny.py")
    return module


def verify(project: Project, *options: str) -> tuple[int, str]:
    ran = project.phibuild("toolchain", "verify", "tiny", *options)
    assert "Traceback" not in ran.text
    return ran.status, ran.text


def test_an_intact_toolchain_is_reported_as_intact(installed: Project) -> None:
    assert verify(installed) == (0, "tiny is intact\n")
    assert "ok    toolchain tiny: installed" in installed.phibuild("doctor").text


def test_a_toolchain_that_is_not_installed_is_not_damaged(
    project: Project, plugin: TinyPlugin
) -> None:
    assert verify(project) == (0, "tiny is not installed\n")


def test_a_file_that_is_gone_is_named_and_comes_back(installed: Project) -> None:
    module_of(installed).unlink()
    doctor = installed.phibuild("doctor")
    assert "FAIL  toolchain tiny: damaged: lib/python" in doctor.text
    assert "cure: phibuild toolchain verify --repair tiny" in doctor.text
    status, text = verify(installed)
    assert status == 1
    assert "phitiny.py is missing" in text
    status, text = verify(installed, "--repair")
    assert (status, "tiny is installed again" in text) == (0, True), text
    assert verify(installed)[0] == 0


def test_a_file_that_changed_under_the_same_size_and_time_comes_back(
    installed: Project,
) -> None:
    """uv's cache has it by another link, and so the change, too."""
    module = module_of(installed)
    before = module.stat()
    text = module.read_text()
    with module.open("r+") as stream:
        stream.write(text.replace("1.0", "9.9"))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "phitiny.py was changed" in verify(installed)[1]
    status, said = verify(installed, "--repair")
    assert status == 0, said
    assert module_of(installed).read_text() == text
    assert verify(installed)[0] == 0


def test_a_file_that_was_added_is_found_and_what_python_compiles_is_not(
    installed: Project,
) -> None:
    module = module_of(installed)
    (module.parent / "__pycache__").mkdir(exist_ok=True)
    (module.parent / "__pycache__" / "phitiny.cpython-311.pyc").touch()
    assert verify(installed)[0] == 0
    module.with_name("json.py").write_text("")
    assert "json.py was added" in verify(installed)[1]


def test_a_build_that_fails_in_a_damaged_toolchain_names_it(installed: Project) -> None:
    write_checkpoint(installed.folder / "model", FAMILIES["phi-3"], layers=1)
    installed.sconstruct(SCONSTRUCT)
    module_of(installed).unlink()
    ran = installed.scons()
    assert "[PHI607] the toolchain tiny is damaged: lib/python" in ran.text
    assert "phibuild toolchain verify --repair tiny, then build again" in ran.text
    assert verify(installed, "--repair")[0] == 0
    assert installed.scons().names("built") == ["out.txt"]


def test_a_toolchain_of_an_earlier_version_is_used_and_can_be_installed_again(
    installed: Project,
) -> None:
    (environment(installed) / "phibuild-complete").write_text("")
    status, text = verify(installed)
    assert (status, "an earlier phibuild installed it" in text) == (0, True)
    assert "ok    toolchain tiny: installed" in installed.phibuild("doctor").text
    verify(installed, "--repair")
    assert verify(installed) == (0, "tiny is intact\n")


def test_a_toolchain_that_no_plugin_names_is_collected_on_request(
    installed: Project, plugin: TinyPlugin
) -> None:
    old = environment(installed)
    plugin.lock("2.0")
    assert installed.phibuild("toolchain", "install", "tiny").status == 0
    new = environment(installed)
    installed.phibuild("store", "collect")
    assert old.is_dir()
    assert (
        f"remove  {old}" in installed.phibuild("store", "collect", "--toolchains", "--dry-run").text
    )
    assert old.is_dir()
    assert f"removed {old}" in installed.phibuild("store", "collect", "--toolchains").text
    assert not old.exists()
    assert new.is_dir()
    assert verify(installed)[0] == 0


def test_a_toolchain_that_a_running_build_uses_is_not_collected(
    installed: Project, plugin: TinyPlugin, shop: Workshop
) -> None:
    shop.toolchains.python_of("tiny")
    old = environment(installed)
    plugin.lock("2.0")
    installed.phibuild("store", "collect", "--toolchains")
    assert old.is_dir()
    shop.store.lease.release()
    installed.phibuild("store", "collect", "--toolchains")
    assert not old.exists()


def test_a_native_toolchain_is_verified_by_its_result(shop: Workshop, native: Path) -> None:  # noqa: F811
    assert differences(shop, "tool", reads=True) == []
    tool = native / "bin" / "tool"
    text = tool.read_text()
    tool.chmod(0o644)
    tool.write_text(text.replace("sh", "SH"))
    assert differences(shop, "tool", reads=False) == []
    damage = differences(shop, "tool", reads=True)
    assert damage is not None
    assert [str(difference) for difference in damage] == ["bin/tool was changed"]
    upkeep.repair(shop, "tool", damage)
    assert tool.read_text() == text
    tool.unlink()
    damage = differences(shop, "tool", reads=False)
    assert [str(difference) for difference in damage or ()] == ["bin/tool is missing"]


def test_a_changed_large_file_of_a_native_toolchain_is_not_recalled(
    shop: Workshop,
    native: Path,  # noqa: F811
) -> None:
    """It is a link to its object."""
    tool = native / "bin" / "tool"
    (place,) = [path for path in (shop.store.root / "objects").rglob("*") if path.is_file()]
    tool.unlink()
    tool.hardlink_to(place)
    before = tool.stat()
    tool.chmod(0o644)
    tool.write_text(tool.read_text().replace("sh", "SH"))
    os.utime(tool, ns=(before.st_atime_ns, before.st_mtime_ns))
    damage = differences(shop, "tool", reads=True)
    assert damage
    with pytest.raises(Exception, match="tool"):  # the test's own worker builds nothing
        upkeep.repair(shop, "tool", damage)
    assert not place.exists()
