"""Recipe fields take effect in the artifact, or are refused before anything runs."""

from __future__ import annotations

import re

import pytest

from phibuild.model.recipe import rules_of
from phibuild.registry import load_registry
from phibuild.testing.checkpoint_edits import set_chat_template
from tests.backends.conftest import Tiny
from tests.backends.recipes import built, refused, shown, types
from tests.conftest import Project

BUILDERS = sorted(load_registry().backends)
TEXT = "The boat left the harbour at dawn, and nobody saw it come back in the evening. " * 60


# GGUF


@pytest.mark.toolchain
def test_gguf_overrides_set_the_types_of_matching_tensors(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    built(
        project_of_tiny,
        r"""env.GGUF("dist/m.gguf", phi, quant="Q4_K_M", token_embedding_type="q8_0",
        overrides={r"blk\.0\.ffn_down": "q8_0", "attn_qkv": "q6_K", "ffn_down": "q5_K"})""",
    )
    tensor_types = types(project_of_tiny, "dist/m.gguf")
    assert tensor_types["blk.0.ffn_down.weight"] == "q8_0"  # the first matching pattern counts
    assert tensor_types["blk.1.ffn_down.weight"] == "q5_K"
    assert tensor_types["blk.0.attn_qkv.weight"] == tensor_types["blk.1.attn_qkv.weight"] == "q6_K"
    assert tensor_types["token_embd.weight"] == "q8_0"
    assert tensor_types["blk.0.ffn_up.weight"] == "q4_K"  # the file type's own
    assert tensor_types["blk.0.attn_norm.weight"] == "f32"


@pytest.mark.toolchain
def test_gguf_file_types_of_one_model_share_metadata_and_pass(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    kinds = {"Q4_0": "q4_0", "Q6_K": "q6_K", "Q8_0": "q8_0"}
    lines = [f'env.GGUF("dist/{kind}.gguf", phi, quant="{kind}")' for kind in kinds]
    ran = built(project_of_tiny, *lines)
    assert [name for name in ran.actions if name != "gguf.vocabulary"] == [
        "gguf.metadata",
        "gguf.write",
    ]
    for kind, tensor_type in kinds.items():
        assert types(project_of_tiny, f"dist/{kind}.gguf")["blk.0.ffn_up.weight"] == tensor_type


@pytest.mark.toolchain
def test_an_imatrix_is_built_once_and_allows_two_bits(project_of_tiny: Project, tiny: Tiny) -> None:
    tiny("phi-3")
    project_of_tiny.write("calibration.txt", TEXT)
    lines = [
        'im = env.Imatrix("build/imatrix.gguf", phi, text="calibration.txt", ctx_size=64)',
        'env.GGUF("dist/small.gguf", phi, quant="IQ2_XS", imatrix=im)',
        'env.GGUF("dist/larger.gguf", phi, quant="Q4_K_M", imatrix=im)',
        'env.GGUF("dist/plain.gguf", phi, quant="Q4_K_M")',
    ]
    ran = built(project_of_tiny, *lines)
    assert sorted(name for name in ran.actions if name != "gguf.vocabulary") == [
        "gguf.imatrix",
        "gguf.metadata",
        "gguf.write",  # the unquantized model, which is run, and the one without the imatrix
        "gguf.write",
    ]
    assert "iq2_xs" in types(project_of_tiny, "dist/small.gguf").values()
    weighted, plain = (
        (project_of_tiny.folder / f"dist/{name}.gguf").read_bytes() for name in ("larger", "plain")
    )
    assert weighted != plain
    project_of_tiny.write("calibration.txt", TEXT.replace("boat", "train"))
    again = project_of_tiny.scons()
    assert sorted(again.actions) == ["gguf.imatrix", "gguf.write"]
    assert set(again.names("built")) == {
        "build/imatrix.gguf",
        "dist/small.gguf",
        "dist/larger.gguf",
    }


def test_very_few_bits_without_an_imatrix_are_refused(project_of_tiny: Project, tiny: Tiny) -> None:
    tiny("phi-3")
    text = refused(project_of_tiny, 'env.GGUF("dist/m.gguf", phi, quant="IQ2_XS")')
    assert "[PHI203]" in text
    assert "env.Imatrix" in text


def test_an_unknown_file_type_is_refused_with_a_similar_one(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    text = refused(project_of_tiny, 'env.GGUF("dist/m.gguf", phi, quant="Q4_K_N")')
    assert "[PHI202]" in text
    assert "did you mean 'Q4_K_" in text


# OpenVINO


@pytest.mark.toolchain
def test_openvino_group_size_ratio_and_sym_are_in_the_weights(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3", seed=0)  # the weights decide which matrices become int4
    built(
        project_of_tiny,
        'env.OpenVINO("dist/sym", phi, group_size=32, ratio=0.5, sym=True)',
        'env.OpenVINO("dist/asym", phi, group_size=-1)',
    )
    sym, asym = (shown(project_of_tiny, f"dist/{name}") for name in ("sym", "asym"))
    groups = re.findall(r"qkv_proj\S* +i4 +768 x 8 x 32 ", sym)
    assert groups, sym
    matrices = [
        kind
        for name, kind in types(project_of_tiny, "dist/sym").items()
        if re.search(r"layers\.\d\.\S+_proj\S+weight$", name)
    ]
    assert sorted(set(matrices)) == ["i4", "u8"]  # the rest of the ratio has the backup precision
    assert re.search(r"qkv_proj\S*weight +u4 +768 x 256 ", asym), asym
    assert re.search(r"qkv_proj\S*/zero_point +u4 +768 x 1 ", asym), asym


@pytest.mark.toolchain
def test_openvino_calibrated_recipes_share_the_export_and_differ(
    project_of_tiny: Project, tiny: Tiny, seed: int
) -> None:
    checkpoint = tiny("phi-3")
    project_of_tiny.write("calibration.txt", TEXT)
    common = 'phi, group_size=64, calibration="calibration.txt", num_samples=4, seq_len=16'
    ran = built(
        project_of_tiny,
        f'env.OpenVINO("dist/awq", {common}, awq=True)',
        f'env.OpenVINO("dist/scales", {common}, scale_estimation=True)',
    )
    assert ran.actions.count("openvino.weights") == 1
    assert ran.actions.count("openvino.compress") == 2
    assert "weight_compression.awq = True" in shown(project_of_tiny, "dist/awq")
    assert "weight_compression.scale_estimation = True" in shown(project_of_tiny, "dist/scales")
    awq, scales = (
        (project_of_tiny.folder / f"dist/{name}/openvino_model.bin").read_bytes()
        for name in ("awq", "scales")
    )
    assert awq != scales
    project_of_tiny.write("calibration.txt", TEXT.replace("boat", f"train {seed}"))
    recompressed = ["openvino.compress", "openvino.compress", "openvino.tokens"]
    assert sorted(project_of_tiny.scons().actions) == recompressed
    set_chat_template(checkpoint, "{{ messages }}")
    assert set(project_of_tiny.scons().actions) <= {"openvino.sidecar"}


def test_openvino_requires_a_calibration_text_for_gptq(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    text = refused(project_of_tiny, 'env.OpenVINO("dist/m", phi, group_size=64, gptq=True)')
    assert "[PHI203]" in text
    assert "requires a calibration text" in text


def test_openvino_group_sizes_that_do_not_divide_are_refused_with_some_that_do(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    text = refused(project_of_tiny, 'env.OpenVINO("dist/m", phi, group_size=96)')
    assert "[PHI203]" in text
    assert "32 or 64 or 128" in text


# MLX


@pytest.mark.toolchain
def test_mlx_mixed_recipes_and_modes_are_in_the_matrices(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    built(
        project_of_tiny,
        'env.MLX("dist/mixed", phi, quant_predicate="mixed_3_6", group_size=32)',
        'env.MLX("dist/mode", phi, mode="mxfp4")',
        'env.MLX("dist/wide", phi, bits=6, group_size=128, dtype="float32")',
    )
    mixed = shown(project_of_tiny, "dist/mixed")
    assert re.search(r"affine, 3 bits, group size 32 = \d+ matrices", mixed), mixed
    assert re.search(r"affine, 6 bits, group size 32 = \d+ matrices", mixed), mixed
    mode = shown(project_of_tiny, "dist/mode")
    assert "quantization = mxfp4, 4 bits, group size 32" in mode
    assert types(project_of_tiny, "dist/mode")["lm_head.scales"] == "U8"
    assert "quantization = affine, 6 bits, group size 128" in shown(project_of_tiny, "dist/wide")
    assert types(project_of_tiny, "dist/wide")["lm_head.scales"] == "F32"


def test_mlx_bits_that_a_mode_does_not_have_are_refused(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    text = refused(project_of_tiny, 'env.MLX("dist/m", phi, mode="mxfp4", bits=8)')
    assert "[PHI203]" in text


# All


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_misspelt_field_is_refused_with_the_line_and_the_right_name(
    project_of_tiny: Project, tiny: Tiny, builder: str
) -> None:
    tiny("phi-3")
    text = refused(project_of_tiny, f'env.{builder}("dist/m", phi, precison="int4")')
    assert f"[PHI201] {builder}: unknown field 'precison'" in text
    assert "did you mean 'precision'?" in text
    assert "precision" in rules_of(load_registry().backends[builder].recipe)


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_value_outside_of_the_choices_is_refused_with_them(
    project_of_tiny: Project, tiny: Tiny, builder: str
) -> None:
    tiny("phi-3")
    text = refused(project_of_tiny, f'env.{builder}("dist/m", phi, precision="int5")')
    assert "[PHI202]" in text
    assert "possible values: int4, int8, fp16" in text
