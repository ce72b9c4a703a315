"""`target_bytes`: types are chosen to fit a limit, and known tensors are not quantized again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from phibuild_gguf.format.header import read_header

from phibuild.engine.workshop import Workshop
from phibuild.model.digest import Digest
from phibuild.store import ActionResult
from phibuild.testing.checkpoint_edits import change_tensor, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.conftest import Tiny
from tests.backends.slices import progress_of, store_with_llama_cpp
from tests.backends.test_gguf_tensors import narrow
from tests.conftest import Project, Ran

pytestmark = pytest.mark.toolchain

HEAD = 'phi = env.PhiModel("tiny")\n'
GGUF = 'q = env.GGUF("dist/{name}.gguf", phi, {fields})\n'
ANSWER = 'env.Generate("dist/answer", q, prompt="hello", max_tokens=3)\n'


def build(project: Project, fields: str, *, name: str = "m", more: str = "", **env: str) -> Ran:
    project.sconstruct(HEAD + GGUF.format(name=name, fields=fields) + more)
    ran = project.scons(**env)
    assert ran.status == 0, ran.text
    return ran


def artifact(project: Project, name: str = "m") -> Path:
    return project.folder / "dist" / f"{name}.gguf"


def types(path: Path) -> dict[str, str]:
    return {info.name: info.type.name for info in read_header(path).tensors}


def least_of(project: Project) -> int:
    """The smallest limit, from the refusal of a smaller one."""
    project.sconstruct(HEAD + GGUF.format(name="m", fields="target_bytes=1000"))
    ran = project.scons()
    assert ran.status == 2
    assert "[PHI701]" in ran.text
    assert not {"gguf.sensitivity", "gguf.write"} & set(ran.actions)
    match = re.search(r"target_bytes must be at least (\d+) for this model", ran.text)
    assert match is not None, ran.text
    return int(match[1])


def shown_choice(project: Project) -> tuple[str, str]:
    """The choice in `phibuild show`: the summary, and what can be pasted."""
    text = project.phibuild("show", "dist/m.gguf", "--no-tensors").text
    summary = next(line for line in text.splitlines() if "expected loss" in line)
    pasted = text[text.index('quant="') :]
    return summary, pasted[: pasted.index("}") + 1]


def losses(path: Path) -> Mapping[str, Mapping[str, float]]:
    """The measured losses for an artifact: of each tensor, by type."""
    shop = Workshop.open()
    manifest = shop.artifacts.manifest_of(path)
    assert manifest is not None
    (result,) = (
        result for result in _results(shop, manifest.key) if result.action == "gguf.sensitivity"
    )
    measured = json.loads(shop.store.object_path(result.tree.entries[0]).read_text())
    return {tensor["name"]: tensor["losses"] for tensor in measured}


def _results(shop: Workshop, key: Digest) -> Iterator[ActionResult]:
    result = shop.store.recall(key)
    assert result is not None
    yield result
    for _, needed in result.inputs:
        yield from _results(shop, needed)


def expected_loss(path: Path, of: Mapping[str, Mapping[str, float]]) -> float:
    """The loss of a file's types; the stored type loses nothing."""
    return sum(of[name].get(kind, 0.0) for name, kind in types(path).items() if name in of)


def weighing(ran: Ran) -> list[str]:
    """The actions except gguf.choices, whose result an earlier run may have left."""
    return [action for action in ran.actions if action != "gguf.choices"]


@pytest.mark.parametrize("family", ["phi-3", "phi-4-mini", "phi-3.5-moe", "phi-2"])
def test_a_file_fits_and_equals_that_of_its_overrides(
    project_of_tiny: Project, tiny: Tiny, family: str
) -> None:
    project = project_of_tiny
    tiny(family)
    least = least_of(project)
    target = least * 4 // 3
    ran = build(project, f"target_bytes={target}", more=ANSWER)
    chosen = ["gguf.sensitivity", "gguf.allocation", "gguf.write", "gguf.generate"]
    assert ran.actions[-4:] == chosen
    size = artifact(project).stat().st_size
    assert 0.97 * target < size <= target
    summary, pasted = shown_choice(project)
    assert f"{size:,} of {target:,} bytes" in summary
    assert "the least of all choices" in summary
    build(project, pasted, name="pasted")
    assert artifact(project, "pasted").read_bytes() == artifact(project).read_bytes()


def test_rows_that_no_k_quant_fits_get_types_that_do(project_of_tiny: Project, tiny: Tiny) -> None:
    narrow(tiny("phi-3"))
    target = least_of(project_of_tiny) * 5 // 4
    build(project_of_tiny, f"target_bytes={target}", more=ANSWER)
    assert 0.97 * target < artifact(project_of_tiny).stat().st_size <= target
    kinds = set(types(artifact(project_of_tiny)).values()) - {"f32"}
    assert len(kinds) > 1
    assert kinds <= {"bf16", "q8_0", "q5_1", "q5_0", "q4_1", "iq4_nl"}


def test_the_least_limit_can_be_kept(project_of_tiny: Project, tiny: Tiny) -> None:
    tiny("phi-3")
    least = least_of(project_of_tiny)
    build(project_of_tiny, f"target_bytes={least}")
    assert artifact(project_of_tiny).stat().st_size == least
    project_of_tiny.sconstruct(HEAD + GGUF.format(name="m", fields=f"target_bytes={least - 1}"))
    assert "[PHI701]" in project_of_tiny.scons().text
    plan = project_of_tiny.phibuild("plan").text
    assert "refused" in plan
    assert "[PHI701]" in plan


def test_more_bytes_lose_less_and_no_file_type_of_the_size_loses_as_little(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    project = project_of_tiny
    tiny("phi-3", layers=3)
    sizes = {}
    for name in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K"):
        build(project, f'quant="{name}"', name=name)
        sizes[name] = artifact(project, name).stat().st_size
    expected = []
    for name, size in sizes.items():
        build(project, f"target_bytes={size}")
        of = losses(artifact(project))
        expected.append(expected_loss(artifact(project), of))
        assert expected[-1] <= expected_loss(artifact(project, name), of)
        assert f"expected loss {expected[-1]:.4g}" in shown_choice(project)[0]
    assert expected == sorted(expected, reverse=True)
    build(project, 'target_bytes="1 GB"')
    assert set(types(artifact(project)).values()) == {"f32", "bf16"}


def test_another_limit_measures_nothing_and_one_that_changes_nothing_writes_nothing(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    project = project_of_tiny
    tiny("phi-3")
    build(project, 'target_bytes="1.5 MB"')
    before, content = types(artifact(project)), artifact(project).read_bytes()
    assert weighing(build(project, 'target_bytes="1.4 MB"')) == ["gguf.allocation", "gguf.write"]
    assert types(artifact(project)) != before
    size = artifact(project).stat().st_size
    ran = build(project, f"target_bytes={size}")
    assert weighing(ran) == ["gguf.allocation"]
    assert artifact(project).stat().st_size == size
    assert build(project, 'target_bytes="1.5 MB"').actions == []
    assert artifact(project).read_bytes() == content
    set_chat_template(project.folder / "tiny", "{{ 'another' }}")
    ran = build(project, 'target_bytes="1.5 MB"')
    assert weighing(ran) == ["gguf.metadata", "gguf.write"]
    assert types(artifact(project)) == before


def test_another_limit_quantizes_only_tensors_whose_type_changes(tmp_path: Path, seed: int) -> None:
    checkpoint = write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=2, seed=seed)
    path = tmp_path / "m.gguf"
    progress_of("GGUF", {"target_bytes": "1.5 MB"}, checkpoint, path)
    before = types(path)
    heard = progress_of("GGUF", {"target_bytes": "1.45 MB"}, checkpoint, path)
    changed = {name for name, kind in types(path).items() if before[name] != kind}
    assert {text for text in heard if text.endswith(".weight")} == changed
    assert 0 < len(changed) < len(before)


def test_after_an_edit_of_a_tensor_the_file_equals_that_of_a_clean_build(
    project_of_tiny: Project, tiny: Tiny, tmp_path: Path
) -> None:
    project = project_of_tiny
    tiny("phi-3")
    build(project, 'target_bytes="1.5 MB"')
    change_tensor(project.folder / "tiny", "model.layers.1.mlp.down_proj.weight")
    ran = build(project, 'target_bytes="1.5 MB"')
    assert ran.actions == ["gguf.sensitivity", "gguf.allocation", "gguf.write"]
    incremental = artifact(project).read_bytes()
    store = str(store_with_llama_cpp(tmp_path / "clean"))
    build(project, 'target_bytes="1.5 MB"', PHIBUILD_STORE=store)
    assert artifact(project).read_bytes() == incremental


def test_a_plan_shows_the_limit_and_then_the_choice(project_of_tiny: Project, tiny: Tiny) -> None:
    project = project_of_tiny
    tiny("phi-3")
    project.sconstruct(HEAD + GGUF.format(name="m", fields='target_bytes="1.5 MB"'))
    assert project.phibuild("toolchain", "install", "gguf", "llama.cpp").status == 0
    first = project.phibuild("plan").text
    assert "dist/m.gguf  at most 1.5 MB" in first
    assert "run gguf.sensitivity" in first
    build(project, 'target_bytes="1.5 MB"')
    project.sconstruct(HEAD + GGUF.format(name="m", fields='target_bytes="1.4 MB"'))
    second = project.phibuild("plan").text
    (size,) = re.findall(r"([\d,]+) of 1,400,000 bytes, expected loss", second)
    assert "overrides" not in second
    assert "overrides={" in project.phibuild("explain", "dist/m.gguf").text
    build(project, 'target_bytes="1.4 MB"')
    assert artifact(project).stat().st_size == int(size.replace(",", ""))


def test_an_imatrix_weighs_the_losses(project_of_tiny: Project, tiny: Tiny) -> None:
    project = project_of_tiny
    tiny("phi-3.5-moe")
    project.write("text.txt", "the quick brown fox jumps over the lazy dog " * 40)
    build(project, 'target_bytes="3 MB"')
    plain = losses(artifact(project))
    weighed = (
        'im = env.Imatrix("dist/im.gguf", phi, text="text.txt", ctx_size=64, chunks=1)\n'
        'q = env.GGUF("dist/m.gguf", phi, target_bytes="3 MB", imatrix=im{})\n'
    )
    project.sconstruct(HEAD + weighed.format("") + ANSWER)
    assert project.scons().status == 0
    assert artifact(project).stat().st_size <= 3_000_000
    weighted = losses(artifact(project))
    assert {name for name in plain if plain[name] != weighted[name]} >= {
        "blk.0.attn_q.weight",
        "blk.1.ffn_down_exps.weight",
    }
    assert weighted["token_embd.weight"] == plain["token_embd.weight"]
    project.sconstruct(HEAD + weighed.format(', exclude_weights=["attn"]'))
    assert project.scons().status == 0
    weighted = losses(artifact(project))
    assert weighted["blk.0.attn_q.weight"] == plain["blk.0.attn_q.weight"]
    assert weighted["blk.0.ffn_up_exps.weight"] != plain["blk.0.ffn_up_exps.weight"]


def test_files_with_and_without_a_limit_are_built_together(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    project = project_of_tiny
    tiny("phi-3")
    quants = ("Q4_K_M", "Q8_0")
    others = "".join(GGUF.format(name=quant, fields=f'quant="{quant}"') for quant in quants)
    build(project, 'target_bytes="1.5 MB"', more=others)
    together = {name: artifact(project, name).read_bytes() for name in ("m", *quants)}
    assert len(set(together.values())) == 3
    _, pasted = shown_choice(project)
    build(project, pasted, name="alone")
    assert artifact(project, "alone").read_bytes() == together["m"]


def test_the_error_for_a_small_slot_proposes_a_limit_that_fits(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    project = project_of_tiny
    tiny("phi-3")
    image = 'env.FirmwareImage("build/model.img", q, slot_size="1.5 MB")\n'
    project.sconstruct(HEAD + GGUF.format(name="m", fields='quant="Q8_0"') + image)
    assert project.phibuild("toolchain", "install", "gguf", "llama.cpp").status == 0
    ran = project.scons()
    assert ran.status == 2
    proposed = re.search(r"would fit: (target_bytes=\d+) \(at most 1.5 MB\)", ran.text)
    assert proposed is not None, ran.text
    project.sconstruct(HEAD + GGUF.format(name="m", fields="target_bytes=1600000") + image)
    ran = project.scons()
    assert "will have at most 1,600,000 bytes" in ran.text
    assert not {"gguf.sensitivity", "gguf.write"} & set(ran.actions)
    build(project, proposed[1], more=image)
    assert (project.folder / "build" / "model.img").stat().st_size <= 1_500_000
