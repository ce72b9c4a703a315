"""`phibuild toolchain remove` and installing remove only what phibuild made, and never what a link
leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from phibuild.engine.keys import keyed
from phibuild.engine.upkeep import remove_tool
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action
from phibuild.offers import NativeToolchain
from phibuild.store import ActionResult
from phibuild.toolchain.removal import Removal
from tests.conftest import Project
from tests.engine.tiny_plugin import TinyPlugin
from tests.snapshots import snapshot


def toolchains(project: Project) -> Path:
    return Path(project.environment["PHIBUILD_STORE"]) / "toolchains"


def environment(project: Project) -> Path:
    """The folder of the tiny toolchain."""
    return Path(project.phibuild("toolchain", "list").text.split("tiny ")[1].split()[2])


def test_a_folder_that_phibuild_did_not_make_is_not_removed(
    project: Project, plugin: TinyPlugin
) -> None:
    folder = environment(project)
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    ran = project.phibuild("toolchain", "remove", "tiny")
    assert "tiny is not removed: phibuild did not make it" in ran.text
    assert str(folder) in ran.text
    assert (folder / "notes.txt").read_text() == "mine"


def test_installing_sets_it_aside_and_says_so(project: Project, plugin: TinyPlugin) -> None:
    folder = environment(project)
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    ran = project.phibuild("toolchain", "install", "tiny")
    assert ran.status == 0, ran.text
    aside = folder.with_name(f"{folder.name}.kept-1")
    assert f"Kept {aside}: phibuild did not make it" in ran.text
    assert (aside / "notes.txt").read_text() == "mine"


def test_a_link_is_removed_and_what_it_leads_to_is_not(
    project: Project, plugin: TinyPlugin, tmp_path: Path
) -> None:
    assert project.phibuild("toolchain", "install", "tiny").status == 0
    real = environment(project)
    other = Project(project.folder, {"PHIBUILD_STORE": str(tmp_path / "other")})
    link = environment(other)
    link.parent.mkdir()
    link.symlink_to(real)
    bytecode = tmp_path / "other" / "bytecode" / str(real).lstrip("/")
    bytecode.mkdir(parents=True)
    (bytecode / "x.pyc").touch()
    before = snapshot(tmp_path / "store" / "toolchains")
    ran = other.phibuild("toolchain", "remove", "tiny")
    assert "tiny was a link: the link is removed" in ran.text
    assert not link.is_symlink()
    assert snapshot(tmp_path / "store" / "toolchains") == before
    assert (bytecode / "x.pyc").exists()


def test_a_store_that_links_to_anothers_toolchains_removes_none(
    project: Project, plugin: TinyPlugin, tmp_path: Path
) -> None:
    assert project.phibuild("toolchain", "install", "tiny").status == 0
    other = Project(project.folder, {"PHIBUILD_STORE": str(tmp_path / "other")})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "toolchains").symlink_to(toolchains(project))
    before = snapshot(tmp_path / "store" / "toolchains")
    ran = other.phibuild("toolchain", "remove", "tiny")
    assert "tiny is not removed: it lies in another store" in ran.text
    assert snapshot(tmp_path / "store" / "toolchains") == before
    assert "tiny is removed" in project.phibuild("toolchain", "remove", "tiny").text


def test_a_link_where_a_toolchain_has_to_be_is_not_written_through(
    project: Project, plugin: TinyPlugin, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "notes.txt").write_text("mine")
    folder = environment(project)
    folder.parent.mkdir()
    folder.symlink_to(outside)
    assert project.phibuild("toolchain", "install", "tiny").status == 0
    assert list(snapshot(outside)) == ["notes.txt"]
    assert not folder.is_symlink()


@pytest.fixture
def native(shop: Workshop, tmp_path: Path) -> Path:
    """The folder of a native toolchain whose result is in the store, installed."""
    worker = tmp_path / "worker.py"
    worker.write_text("")
    action = Action(name="tool.build", worker=worker, toolchain="host")
    natives = shop.registry.natives
    assert isinstance(natives, dict)
    natives["tool"] = NativeToolchain("tool", lambda: action)
    built = shop.store.root / "built"
    (built / "bin").mkdir(parents=True)
    (built / "bin" / "tool").write_text("#!/bin/sh\n")
    step = keyed(shop, action, None, {})
    tree = shop.store.put(built)
    shop.store.record(ActionResult(step.key, action.name, step.facts, (), tree, 0.0, 0, "", "test"))
    prefix = shop.store.root / "toolchains" / f"tool-{step.key.hex[:12]}"
    shop.store.install(tree, prefix)
    return prefix


def test_a_native_toolchain_is_removed_file_by_file(shop: Workshop, native: Path) -> None:
    (native / "bin" / "mine").write_text("mine")
    assert remove_tool(shop, "tool") is Removal.PARTLY
    assert list(snapshot(native)) == ["bin", "bin/mine"]
    (native / "bin" / "mine").unlink()
    (native / "bin").rmdir()
    native.rmdir()
    assert remove_tool(shop, "tool") is Removal.ABSENT


def test_a_native_toolchain_that_no_result_explains_stays(shop: Workshop, native: Path) -> None:
    for result in (shop.store.root / "results").iterdir():
        result.unlink()
    assert remove_tool(shop, "tool") is Removal.NOT_OWN
    assert (native / "bin" / "tool").exists()
