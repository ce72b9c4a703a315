"""Several GGUF files of one checkpoint: written in one pass, or as splits of one model."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from phibuild_gguf.format.header import read_header

from phibuild.testing.checkpoint_edits import change_tensor, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.slices import store_with_llama_cpp, tree_of
from tests.conftest import Project, Ran

pytestmark = pytest.mark.toolchain

MODEL = 'phi = env.PhiModel("tiny")\n'
TYPES = ("Q4_K_S", "Q4_K_M", "Q6_K", "Q8_0", "BF16")
LADDER = [f'env.GGUF("dist/{name}.gguf", phi, quant="{name}")\n' for name in TYPES]
OVERRIDDEN = 'env.GGUF("dist/mixed.gguf", phi, quant="Q4_K_M", overrides={"attn_qkv": "q8_0"})\n'
SPLIT = 'env.GGUF("dist/split", phi, quant="Q4_K_M", split_max_size="{size}")\n'


SEEDS = itertools.count()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with llama.cpp, and later with the metadata that all tests share."""
    return store_with_llama_cpp(tmp_path_factory.mktemp("store") / "store")


@pytest.fixture
def project(store: Path, tmp_path: Path) -> Project:
    """A project with a checkpoint of three layers whose weights no other test has."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_checkpoint(folder / "tiny", FAMILIES["phi-3"], hidden=256, layers=3, seed=next(SEEDS))
    return Project(folder, {"PHIBUILD_STORE": str(store)})


def build(project: Project, *arguments: str, **environment: str) -> Ran:
    ran = project.scons(*arguments, **environment)
    assert ran.status == 0, ran.text
    return ran


def writing(ran: Ran) -> list[str]:
    """Each run of gguf.write in the display, with its number of targets."""
    lines = [line for line in ran.text.splitlines() if line.startswith("working")]
    return [line[line.index("(") : line.index(")") + 1] for line in lines if "gguf.write" in line]


def contents(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.folder / "dist").glob("*.gguf")}


def test_file_types_are_written_in_one_pass_and_equal_those_of_single_builds(
    project: Project, tmp_path: Path
) -> None:
    lines = [*LADDER, OVERRIDDEN]
    project.sconstruct(MODEL + "".join(lines))
    ran = build(project)
    assert writing(ran) == ["(gguf.write, 6 targets)"]
    assert sorted(ran.names("built")) == sorted(f"dist/{name}.gguf" for name in (*TYPES, "mixed"))
    together = contents(project)
    shutil.rmtree(project.folder / "dist")
    store = str(store_with_llama_cpp(tmp_path / "alone"))
    for line in lines:
        project.sconstruct(MODEL + line)
        assert writing(build(project, PHIBUILD_STORE=store)) == ["(gguf.write)"]
    assert contents(project) == together


def test_targets_at_once_share_one_pass(project: Project) -> None:
    project.sconstruct(MODEL + "".join(LADDER))
    ran = build(project, "-j4")
    assert writing(ran) == ["(gguf.write, 5 targets)"]
    assert len(ran.names("built")) == 5
    assert build(project).text == "scons: `.' is up to date.\n"


def test_only_requested_targets_are_built(project: Project) -> None:
    project.sconstruct(MODEL + "".join(LADDER))
    assert writing(build(project, "dist/Q8_0.gguf")) == ["(gguf.write)"]
    assert list(contents(project)) == ["Q8_0.gguf"]
    assert writing(build(project)) == ["(gguf.write, 4 targets)"]


def test_explain_names_the_field_that_the_user_wrote(project: Project) -> None:
    line = 'env.GGUF("dist/m.gguf", phi, quant="{}")\n'
    project.sconstruct(MODEL + line.format("Q8_0"))
    build(project)
    project.sconstruct(MODEL + line.format("Q6_K"))
    text = project.phibuild("explain", "dist/m.gguf").text
    assert re.search(r"recipe\.quant.*Q8_0.*Q6_K", text), text
    assert "file_type" not in text


def test_a_failed_target_does_not_affect_the_others(project: Project) -> None:
    bad = 'env.GGUF("dist/bad", phi, quant="Q5_K_S", split_max_size=1000)\n'
    project.sconstruct(MODEL + bad + "".join(LADDER[2:4]))
    ran = project.scons("-k")
    assert ran.status != 0
    assert "split_max_size must be at least" in ran.text
    assert ran.names("scons:")[0] == "***"
    assert "[dist/bad.phi.json]" in ran.text
    assert sorted(contents(project)) == ["Q6_K.gguf", "Q8_0.gguf"]


def edit_tensor(project: Project) -> None:
    change_tensor(project.folder / "tiny", "model.layers.1.mlp.down_proj.weight")


def edit_override(project: Project) -> None:
    project.sconstruct(MODEL + OVERRIDDEN)


def edit_type(project: Project) -> None:
    project.sconstruct(MODEL + OVERRIDDEN.replace("Q4_K_M", "Q4_K_S"))


@pytest.mark.parametrize("edit", [edit_tensor, edit_override, edit_type])
def test_after_an_edit_the_artifact_is_that_of_a_clean_build(
    project: Project, tmp_path: Path, edit: Callable[[Project], None]
) -> None:
    project.sconstruct(MODEL + OVERRIDDEN.replace("q8_0", "q6_k"))
    build(project)
    before = contents(project)
    edit(project)
    assert build(project).actions == ["gguf.write"]
    incremental = contents(project)
    assert incremental != before
    build(project, PHIBUILD_STORE=str(store_with_llama_cpp(tmp_path / "clean")))
    assert contents(project) == incremental


def test_nothing_is_built_from_an_imatrix_that_is_about_to_change(
    project: Project, tmp_path: Path
) -> None:
    project.write("text.txt", "the quick brown fox jumps over the lazy dog " * 20)
    weighed = (
        'im = env.Imatrix("dist/z.imatrix.gguf", phi, text="text.txt", ctx_size=64, chunks=1)\n'
        'env.GGUF("dist/b.gguf", phi, quant="{type}", imatrix=im)\n'
        'env.GGUF("dist/a.gguf", phi, quant="{type}")\n'
    )
    project.sconstruct(MODEL + weighed.format(type="Q4_K_M"))
    build(project)
    project.write("text.txt", "a lazy dog sleeps under the quick brown fox " * 20)
    project.sconstruct(MODEL + weighed.format(type="Q4_K_S"))
    assert build(project).actions == ["gguf.write", "gguf.imatrix", "gguf.write"]
    incremental = contents(project)
    build(project, PHIBUILD_STORE=str(store_with_llama_cpp(tmp_path / "clean")))
    assert contents(project) == incremental


def test_splits_are_of_the_size_and_hold_what_one_file_holds(project: Project) -> None:
    one_file = 'env.GGUF("dist/whole.gguf", phi, quant="Q4_K_M")\n'
    answer = 'env.Generate("dist/answer", s, prompt="hello", max_tokens=3)\n'
    project.sconstruct(MODEL + one_file + "s = " + SPLIT.format(size="600 KB") + answer)
    build(project)
    whole = project.folder / "dist" / "whole.gguf"
    files = splits(project)
    assert [path.name for path in files] == [
        f"model-{number:05}-of-00003.gguf" for number in (1, 2, 3)
    ]
    assert all(path.stat().st_size <= 600_000 for path in files)
    assert [tensor for path in files for tensor in tensors(path)] == list(tensors(whole))
    first, others = read_header(files[0]), [read_header(path) for path in files[1:]]
    assert first.value("tokenizer.chat_template") == read_header(whole).value(
        "tokenizer.chat_template"
    )
    for number, header in enumerate([first, *others]):
        keys = ("split.no", "split.count", "split.tensors.count")
        assert [header.value(key) for key in keys] == [number, 3, len(read_header(whole).tensors)]
    shown = project.phibuild("show", "dist/split")
    assert f"{len(read_header(whole).tensors)} tensors" in shown.text


def test_an_edit_writes_the_splits_that_it_touches(project: Project, tmp_path: Path) -> None:
    project.sconstruct(MODEL + SPLIT.format(size="600 KB"))
    build(project)
    before = [path.stat().st_ino for path in splits(project)]
    change_tensor(project.folder / "tiny", "model.layers.1.mlp.down_proj.weight")
    assert build(project).actions == ["gguf.write"]
    after_tensor = [path.stat().st_ino for path in splits(project)]
    holds = [
        any(info.name == "blk.1.ffn_down.weight" for info in read_header(path).tensors)
        for path in splits(project)
    ]
    assert sum(holds) == 1
    assert [old == new for old, new in zip(before, after_tensor, strict=True)] == [
        not it_does for it_does in holds
    ]
    set_chat_template(project.folder / "tiny", "{{ 'another' }}")
    assert build(project).actions == ["gguf.metadata", "gguf.write"]
    after_template = [path.stat().st_ino for path in splits(project)]
    assert after_template[0] != after_tensor[0]
    assert after_template[1:] == after_tensor[1:]
    incremental = tree_of(project.folder / "dist" / "split")
    build(project, PHIBUILD_STORE=str(store_with_llama_cpp(tmp_path / "clean")))
    assert tree_of(project.folder / "dist" / "split") == incremental


def test_a_size_that_is_too_small_is_refused_with_the_minimum(project: Project) -> None:
    project.sconstruct(MODEL + SPLIT.format(size="100 KB"))
    ran = project.scons()
    assert "[PHI203]" in ran.text
    assert "split_max_size must be at least" in ran.text
    least = ran.text.partition("split_max_size must be at least ")[2].split()[0]
    project.sconstruct(MODEL + SPLIT.format(size=least))
    build(project)
    project.sconstruct(MODEL + SPLIT.format(size=int(least) - 32))
    assert "[PHI203]" in project.scons().text


def splits(project: Project) -> list[Path]:
    return sorted((project.folder / "dist" / "split").iterdir())


def tensors(path: Path) -> Iterator[tuple[Any, ...]]:
    """Name, type, shape and bytes of each tensor."""
    header, content = read_header(path), path.read_bytes()
    for info in header.tensors:
        begin = header.data + info.offset
        yield info.name, info.type.name, info.shape, content[begin : begin + info.size]
