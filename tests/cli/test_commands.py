"""The command line, on a project whose worker needs no toolchain."""

from __future__ import annotations

import json
from pathlib import Path

from phibuild.store.copying import Way, way_to
from tests.conftest import BUILD, Project


def test_build_is_scons(copying: Project) -> None:
    ran = copying.phibuild("build", "dist/copy", "-j", "2")
    assert ran.status == 0
    assert ran.names("built") == ["dist/copy"]
    assert copying.phibuild("build", "-s").text == ""
    copying.write("in.txt", "fail")
    assert copying.phibuild("build", "-k").status == 2


def test_explain_names_the_facts_that_changed(copying: Project) -> None:
    copying.scons()
    assert "up to date" in copying.phibuild("explain", "dist/copy").text
    copying.sconstruct(BUILD.replace("times=2", "times=3"))
    text = copying.phibuild("explain", "dist/copy").text
    assert "twice: recipe.times changed: 2 → 3" in text
    assert "1 of 1 actions would run" in text


def test_explain_knows_only_declared_targets(copying: Project) -> None:
    ran = copying.phibuild("explain", "dist/other")
    assert ran.status == 1
    assert "no target dist/other; there are\n  dist/copy" in ran.text


def test_a_broken_sconstruct_ends_the_command_with_its_message(copying: Project) -> None:
    copying.sconstruct("env.Artifact(")
    ran = copying.phibuild("plan")
    assert ran.status == 2
    assert "SyntaxError" in ran.text


def test_show_prints_files_and_provenance(copying: Project) -> None:
    copying.scons()
    text = copying.phibuild("show", "dist/copy").text
    assert "copy: artifact, 16 B" in text
    assert "unchanged by size and time, not read" in text
    assert "recipe.times = 2" in text
    copying.write("stranger.txt", "")
    assert "phibuild did not make it" in copying.phibuild("show", "stranger.txt").text


def test_graph_speaks_dot_and_mermaid(copying: Project) -> None:
    dot = copying.phibuild("graph").text
    assert dot.startswith("digraph phibuild {")
    assert '"in.txt" -> "dist/copy";' in dot
    mermaid = copying.phibuild("graph", "--as", "mermaid").text
    assert mermaid.startswith("flowchart LR")
    assert "n1 --> n0" in mermaid


def test_store_stat_counts(copying: Project, tmp_path: Path) -> None:
    copying.scons()
    text = copying.phibuild("store", "stat").text
    assert f"store       {tmp_path / 'store'}" in text
    assert "1 action results" in text


def test_plugins_lists_offers(copying: Project) -> None:
    text = copying.phibuild("plugins").text
    assert "env.GGUF  (GGUF)" in text
    assert "toolchain  llama.cpp" in text


def test_plugins_lists_builders_for_other_builds(copying: Project) -> None:
    offers = json.loads(copying.phibuild("plugins", "--json").text)
    assert offers["builders"]["GGUF"] == {"paths": ["imatrix"], "nodes": []}
    assert "phi_model_data.S" in offers["builders"]["EmbeddedModel"]["nodes"]
    assert all(Path(place).stat().st_mtime_ns == seen for place, seen in offers["places"].items())


def test_other_builds_are_given_a_folder_and_a_script(copying: Project) -> None:
    site = Path(copying.phibuild("scons-site").text.strip())
    assert (site / "site_tools" / "phibuild.py").is_file()
    assert "DefaultEnvironment().Tool(" in copying.phibuild("platformio-script").text


def test_build_reads_the_file_of_an_option(copying: Project) -> None:
    (copying.folder / "other").mkdir()
    (copying.folder / "SConstruct").rename(copying.folder / "other" / "build.py")
    ran = copying.phibuild("build", "-f", "other/build.py", "dist/copy")
    assert ran.names("built") == ["dist/copy"], ran.text


def test_doctor_names_what_is_missing_and_the_cure(copying: Project) -> None:
    text = copying.phibuild("doctor").text
    assert "todo  toolchain mlx: not installed yet" in text
    assert "cure: phibuild toolchain install mlx" in text
    blind = copying.phibuild("doctor", PATH=str(copying.folder), CC="", CXX="")
    assert blind.status == 1
    assert "FAIL  C++ compiler: no C++ compiler was found" in blind.text


def test_doctor_says_when_the_store_cannot_be_used(copying: Project) -> None:
    copying.write("file", "")
    ran = copying.phibuild("doctor", PHIBUILD_STORE=str(copying.folder / "file" / "store"))
    assert ran.status == 1
    assert "set PHIBUILD_STORE" in ran.text


def test_doctor_says_how_artifacts_get_their_bytes(copying: Project) -> None:
    text = copying.phibuild("doctor").text
    ways = {
        Way.COPY: "copies: this file system has no reflinks",
        Way.REFLINK: "reflinks: they share the store's blocks",
    }
    way = ways[way_to(copying.folder, source=copying.folder / "in.txt")]
    assert f"ok    artifacts in {copying.folder}: {way}" in text
    text = copying.phibuild("doctor", PHIBUILD_LINK="hard").text
    assert f"artifacts in {copying.folder}: hard links to the store's objects" in text
    ran = copying.phibuild("doctor", PHIBUILD_LINK="soft")
    assert ran.status == 1
    assert "PHIBUILD_LINK=soft is not supported" in ran.text
    assert not list(copying.folder.glob(".*"))


def test_toolchain_list_and_remove(copying: Project) -> None:
    assert "mlx          python  -" in copying.phibuild("toolchain", "list").text
    assert "mlx was not installed" in copying.phibuild("toolchain", "remove", "mlx").text
    ran = copying.phibuild("toolchain", "remove", "other")
    assert ran.status == 2
    assert "[PHI503]" in ran.text


def test_an_installation_that_fails_is_one_error_and_leaves_nothing(
    copying: Project, tmp_path: Path
) -> None:
    """The index cannot be reached; `--offline` is uv's own way to say so."""
    ran = copying.phibuild("toolchain", "install", "mlx", UV_OFFLINE="1")
    assert ran.status == 2
    assert "[PHI604]" in ran.text
    assert "phibuild toolchain install mlx" in ran.text
    assert [path for path in (tmp_path / "store" / "toolchains").iterdir() if path.is_dir()] == []


def test_init_writes_an_sconstruct_that_reads(project: Project) -> None:
    from phibuild.testing.checkpoints import FAMILIES, write_checkpoint

    write_checkpoint(project.folder / "models" / "Tiny", FAMILIES["phi-3"])
    ran = project.phibuild("init", "models/Tiny")
    assert ran.status == 0, ran.text
    text = (project.folder / "SConstruct").read_text()
    assert 'env.GGUF("dist/tiny-int4.gguf", phi' in text.replace("'", '"')
    assert project.phibuild("plan").status == 0
    again = project.phibuild("init", "models/Tiny")
    assert again.status == 1
    assert "--force replaces it" in again.text


def test_cmake_dir_is_where_the_package_of_cmake_lies(project: Project) -> None:
    folder = Path(project.phibuild("cmake-dir").text.strip())
    assert (folder / "PhibuildConfig.cmake").is_file()
