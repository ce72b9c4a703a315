"""Options of the ONNX builder take effect in the artifact, or are refused before anything runs."""

from __future__ import annotations

import json
import re

import pytest

from tests.backends.conftest import Tiny
from tests.backends.recipes import MODEL, built, refused, shown, types
from tests.conftest import Project


@pytest.mark.toolchain
def test_onnx_options_of_the_present_builder_take_effect(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    built(
        project_of_tiny,
        'env.OnnxGenAI("dist/a", phi, block_size=64, accuracy_level=1, is_symmetric=False)',
        'env.OnnxGenAI("dist/b", phi, matmul_mixed_precision={"last_matmul": "int8"})',
    )
    a, b = (
        re.findall(
            r"qkv_proj\S+ +uint8 +(\d+ x \d+ x \d+) ", shown(project_of_tiny, f"dist/{name}")
        )
        for name in ("a", "b")
    )
    assert set(a) == {"768 x 4 x 32"}  # 256 weights a row in 4 groups of 64, two in a byte
    assert set(b) == {"768 x 8 x 16"}
    names = types(project_of_tiny, "dist/a").keys(), types(project_of_tiny, "dist/b").keys()
    zero_points = [sum("zero" in name or "zp" in name for name in tensors) for tensors in names]
    assert zero_points[0] > zero_points[1]


@pytest.mark.toolchain
def test_onnx_options_of_embeddings_and_pages_take_effect(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    """Pages are only built: running them needs a GPU."""
    tiny("phi-4-mini")
    built(
        project_of_tiny,
        'a = env.OnnxGenAI("dist/a", phi, shared_embeddings=False, is_symmetric=False,'
        " use_device_allocator_for_initializers=True)",
        'env.Generate("dist/answer", a, prompt="hello", max_tokens=8)',
        'env.OnnxGenAI("dist/b", phi, execution_provider="cuda", use_paged_attention=True,'
        " paged_block_size=128, max_batch_size=8, num_blocks=32)",
    )
    a, b = (
        json.loads((project_of_tiny.folder / f"dist/{name}/genai_config.json").read_text())
        for name in ("a", "b")
    )
    session = a["model"]["decoder"]["session_options"]
    assert "use_device_allocator_for_initializers" in json.dumps(session)
    batching = b["engine"]["dynamic_batching"]
    assert [batching[name] for name in ("block_size", "max_batch_size", "num_blocks")] == [
        128,
        8,
        32,
    ]


@pytest.mark.toolchain
def test_onnx_caches_of_keys_and_values_are_quantized(project_of_tiny: Project, tiny: Tiny) -> None:
    """With arbitrary scales: artifacts run, and other scales build another artifact."""
    tiny("phi-4-mini", layers=2)  # 2 heads of 64 for keys
    scales = project_of_tiny.write("kv.json", json.dumps(one_scale_for_all(0.05)))
    wrong = json.dumps({"scales": {"k_scales": [0.1], "v_scales": [0.1]}})
    project_of_tiny.write("wrong.json", wrong)
    cache = 'kv_cache_quant_scheme="{}_per_channel", kv_cache_scale_file="{}"'
    lines = [
        f'a = env.OnnxGenAI("dist/a", phi, {cache.format("int8", "kv.json")})',
        f'b = env.OnnxGenAI("dist/b", phi, precision="fp16", {cache.format("int4", "kv.json")})',
        'env.Generate("dist/a.txt", a, prompt="hello", max_tokens=8)',
        'env.Generate("dist/b.txt", b, prompt="hello", max_tokens=8)',
    ]
    ran = built(project_of_tiny, *lines)
    assert ran.actions.count("onnx.weights") == 2
    for name in ("a", "b"):
        graph = (project_of_tiny.folder / "dist" / name / "model.onnx").read_bytes()
        assert b"PER_CHANNEL" in graph
    scales.write_text(json.dumps(one_scale_for_all(0.06)))
    assert project_of_tiny.scons("dist/a").actions == ["onnx.weights"]
    project_of_tiny.sconstruct(f'phi = env.PhiModel("tiny")\n{lines[0].replace("kv.", "wrong.")}\n')
    ran = project_of_tiny.scons()
    assert ran.status == 2
    assert "[PHI203] OnnxGenAI: the scales do not fit the model" in ran.text


def one_scale_for_all(scale: float) -> dict[str, object]:
    """In the format of kv_cache_calibration, for two layers with 128 channels."""
    layers = [[scale] * 128] * 2
    return {"scales": {"k_scales": layers, "v_scales": layers}}


@pytest.mark.toolchain
def test_onnx_generates_beyond_a_window_of_attention(project_of_tiny: Project, tiny: Tiny) -> None:
    """Prompt and answer are longer than the window, which is shorter than the context."""
    config = tiny("phi-3") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sliding_window": 48}))
    ran = built(
        project_of_tiny,
        'a = env.OnnxGenAI("dist/a", phi, precision="int4", execution_provider="cpu")',
        'env.Generate("dist/a.txt", a, prompt="one two three four " * 20, max_tokens=150)',
    )
    assert "dist/a.txt" in ran.names("built")
    assert (project_of_tiny.folder / "dist" / "a.txt").read_text().strip()


@pytest.mark.toolchain
def test_onnx_an_unknown_node_to_exclude_is_an_error(project_of_tiny: Project, tiny: Tiny) -> None:
    tiny("phi-3")
    project_of_tiny.sconstruct(
        MODEL + 'env.OnnxGenAI("dist/a", phi, precision="int4", execution_provider="cpu",'
        ' nodes_to_exclude=["/model/layers.0/attn/o_prj/MatMul"])\n'
    )
    ran = project_of_tiny.scons()
    assert ran.status == 2
    assert "[PHI203]" in ran.text
    assert "/model/layers.0/attn/o_proj/MatMul" in ran.text.partition("similar names: ")[2]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("int4_block_size=32", "block_size"),
        ("int4_accuracy_level=4", "accuracy_level"),
        ("int4_is_symmetric=True", "is_symmetric"),
        ('int4_algo_config="rtn"', "algo_config"),
        ("disable_qkv_fusion=True", "fuse_qkv=False"),
    ],
)
def test_onnx_options_of_older_builders_are_refused_with_the_new_name(
    project_of_tiny: Project, tiny: Tiny, old: str, new: str
) -> None:
    tiny("phi-3")
    text = refused(project_of_tiny, f'env.OnnxGenAI("dist/m", phi, {old})')
    assert "[PHI201]" in text
    assert f"write {new} instead" in text
