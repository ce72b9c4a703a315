"""The ONNX recipe: its plan, and the refusals before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from phibuild_onnx.actions import generate, label, plan
from phibuild_onnx.check import check
from phibuild_onnx.describe import describe
from phibuild_onnx.recipe import OnnxRecipe

from phibuild.api import (
    Action,
    FileInput,
    ModelFacts,
    PhiError,
    RecipeError,
    Tensor,
    parse_recipe,
    steps_of,
)

UNKNOWN_MODEL = ModelFacts({}, ())
LONGROPE = {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}


def recipe(**fields: Any) -> OnnxRecipe:
    return parse_recipe(OnnxRecipe, fields, builder="OnnxGenAI")


def a_model(model_type: str = "phi3", *, rows: int = 512, **changes: Any) -> ModelFacts:
    """A model of 1,056 tokens with one matrix of `rows` beside its embedding."""
    fields = {
        "model_type": model_type,
        "vocab_size": 1056,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
    }
    tensors = (
        Tensor("model.embed_tokens.weight", "BF16", (1056, 256), 1056 * 256 * 2),
        Tensor("model.layers.0.mlp.gate_up_proj.weight", "BF16", (rows, 256), rows * 256 * 2),
    )
    return ModelFacts(fields | changes, tensors)


def planned(**fields: Any) -> dict[str, Any]:
    """The fields of the weights' action."""
    weights = actions(**fields)["onnx.weights"]
    return {name: json.loads(value) for name, value in weights.recipe}


def actions(**fields: Any) -> dict[str, Action]:
    """The actions of the artifact by name."""
    steps = steps_of(plan(recipe(**fields), UNKNOWN_MODEL, {}))
    return {step.name: step for step in steps if isinstance(step, Action)}


def refusal(model: ModelFacts = UNKNOWN_MODEL, **fields: Any) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        check(recipe(**fields), model, {})
    assert caught.value.hint
    assert caught.value.message.startswith("OnnxGenAI: ")
    return caught.value


@pytest.mark.parametrize(
    ("provider", "precisions"),
    [
        ("cpu", {"int4", "int8", "fp16", "fp32"}),
        ("cuda", {"int4", "int8", "fp16"}),
        ("dml", {"int4", "fp16"}),
        ("webgpu", {"int4", "int8", "fp16", "fp32"}),
        ("NvTensorRtRtx", {"int4", "fp16"}),
    ],
)
def test_a_provider_accepts_the_precisions_that_run_on_it(
    provider: str, precisions: set[str]
) -> None:
    for precision in ("int4", "int8", "fp16", "fp32"):
        fields = {"precision": precision, "execution_provider": provider}
        if precision in precisions:
            check(recipe(**fields), UNKNOWN_MODEL, {})
        else:
            error = refusal(**fields)
            assert error.code == "PHI203"
            assert repr(provider) in error.message


@pytest.mark.parametrize(
    "fields",
    [
        {"exclude_embeds": True},
        {"exclude_lm_head": True},
        {"algo_config": "k_quant", "is_symmetric": False},
        {"algo_config": "rtn", "use_qdq": True},
        {"use_qdq": True, "accuracy_level": 1},
        {"use_qdq": True, "matmul_mixed_precision": {"last_matmul": "int8"}},
        {"use_qdq": True, "op_types_to_quantize": ["MatMul", "Gather"]},
        {"precision": "int8", "use_qdq": True},
        {"precision": "int8", "op_types_to_quantize": ["Gather"]},
        {"op_types_to_quantize": []},
        {"matmul_mixed_precision": {"linear_attn": "int8"}},
        {"matmul_mixed_precision": {"last_matmul": "int4"}},
        {
            "matmul_mixed_precision": {"last_matmul": "int8"},
            "nodes_to_exclude": ["/lm_head/MatMul"],
        },
        {"precision": "fp32", "block_size": 64},
        {"precision": "fp32", "accuracy_level": 1},
        {"precision": "fp32", "use_qdq": False},
        {"enable_cuda_graph": True},
        {"enable_dml_graph": False},
        {"use_paged_attention": True},
        {"execution_provider": "cuda", "num_blocks": 8},
        {
            "execution_provider": "cuda",
            "use_paged_attention": True,
            "num_blocks": 8,
            "gpu_utilization_factor": 0.5,
        },
        {"execution_provider": "cuda", "precision": "fp16", "matmulnbits_weights_prepacked": 1},
        {
            "execution_provider": "cuda",
            "matmulnbits_weights_prepacked": 1,
            "enable_cuda_fpa_intb_gemm": True,
        },
        {"use_cuda_bf16": True},
        {"enable_webgpu_graph": True},
        {"use_webgpu_fp32": True},
        {"execution_provider": "cuda", "precision": "int8", "use_cuda_bf16": True},
        {"execution_provider": "webgpu", "precision": "fp16", "use_webgpu_fp32": True},
        {"execution_provider": "webgpu", "precision": "fp32", "use_webgpu_fp32": True},
        {"execution_provider": "dml", "fuse_qkv": False},
        {"execution_provider": "NvTensorRtRtx", "use_qdq": False},
        {"execution_provider": "NvTensorRtRtx", "algo_config": "rtn"},
        {"execution_provider": "NvTensorRtRtx", "accuracy_level": 1},
    ],
)
def test_a_field_without_effect_or_a_runnable_result_is_refused(fields: dict[str, Any]) -> None:
    assert refusal(**fields).code == "PHI203"


@pytest.mark.parametrize(
    "fields",
    [
        {"is_symmetric": False},
        {"matmul_mixed_precision": {"last_matmul": "int8"}},
        {"op_types_to_quantize": ["MatMul"]},
        {"use_qdq": True},
        {"execution_provider": "NvTensorRtRtx"},
    ],
)
def test_tied_embeddings_refuse_what_cannot_share_a_quantized_matrix(
    fields: dict[str, Any],
) -> None:
    assert refusal(a_model(tie_word_embeddings=True), **fields).code == "PHI203"
    check(recipe(**fields), a_model(), {})


def test_tied_embeddings_accept_the_methods_that_share() -> None:
    tied = a_model(tie_word_embeddings=True)
    check(recipe(), tied, {})
    check(recipe(algo_config="rtn", is_symmetric=False), tied, {})
    check(recipe(algo_config="k_quant", matmul_mixed_precision={"last_matmul": "int8"}), tied, {})
    check(recipe(precision="int8", is_symmetric=False), tied, {})


@pytest.mark.parametrize(
    "model",
    [
        a_model("phimoe"),
        a_model("llama"),
        a_model(architectures=["Phi3VForCausalLM"]),
        a_model(quantization_config={"quant_method": "awq"}),
        a_model("phi", qk_layernorm=True),
        a_model("phi", rope_scaling={"type": "dynamic", "factor": 2.0}),
        a_model(rope_scaling=LONGROPE),
        a_model(max_position_embeddings=8192),
        a_model(rows=1056),
        a_model(hidden_act="wave"),
        a_model(hidden_act=["silu"]),
    ],
)
def test_a_model_that_the_builder_would_change_is_refused(model: ModelFacts) -> None:
    assert refusal(model).code == "PHI204"


def test_the_refusal_of_a_model_names_what_is_supported() -> None:
    error = refusal(a_model("phimoe"))
    assert "'phimoe'" in error.message
    assert "phi, phi3" in error.hint


def test_supported_models_pass() -> None:
    check(recipe(), a_model(), {})
    check(recipe(), a_model("phi"), {})
    check(recipe(), a_model(max_position_embeddings=131072, rope_scaling=LONGROPE), {})
    check(recipe(fuse_mlp_gate_up=True), a_model(), {})
    assert refusal(a_model("phi"), fuse_mlp_gate_up=True).code == "PHI203"


@pytest.mark.parametrize("name", sorted(OnnxRecipe.outdated))
def test_an_outdated_field_is_refused_with_its_new_name(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(**{name: 32})
    assert caught.value.code == "PHI201"
    assert OnnxRecipe.outdated[name] in caught.value.hint


@pytest.mark.parametrize(
    "fields",
    [
        {"precision": "int3"},
        {"execution_provider": "rocm"},
        {"block_size": 48},
        {"accuracy_level": 5},
        {"algo_config": "k_quant_mixed"},
        {"is_symmetric": "yes"},
        {"op_types_to_quantize": ["Conv"]},
        {"prune_lm_head": 1},
        {"include_hidden_states": 1},
    ],
)
def test_a_value_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(**fields)
    assert caught.value.code == "PHI202"


def test_the_plan_spells_out_the_defaults_of_the_builder() -> None:
    assert planned() == planned(
        block_size=32, accuracy_level=4, is_symmetric=True, algo_config="default"
    )
    assert planned(execution_provider="cuda")["accuracy_level"] == 0
    assert planned(execution_provider="webgpu")["accuracy_level"] == 4
    assert planned(precision="fp32") == {"precision": "fp32", "execution_provider": "cpu"}


def test_the_plan_holds_the_given_fields() -> None:
    assert planned(block_size=64)["block_size"] == 64
    assert planned(nodes_to_exclude=["/lm_head/MatMul"])["nodes_to_exclude"] == ["/lm_head/MatMul"]
    assert planned(matmul_mixed_precision={"mixed_layers": "int8"})["matmul_mixed_precision"] == [
        ["mixed_layers", "int8"]
    ]


def test_the_weights_depend_on_no_token_and_the_sidecar_on_no_weight() -> None:
    both = actions()
    assert both["onnx.weights"].slices == ("weights", "architecture")
    assert "weights" not in both["onnx.sidecar"].slices
    assert both["onnx.sidecar"].toolchain == "host"


def test_the_label_and_the_generate_action() -> None:
    assert label(recipe(precision="int8")) == "int8 cpu"
    action = generate(FileInput("dist/a"), "Hello", 3)
    assert action.inputs == (("artifact", FileInput("dist/a")),)
    assert dict(action.recipe) == {"prompt": '"Hello"', "max_tokens": "3"}


def field(number: int, payload: bytes | int) -> bytes:
    """A field of a protobuf message; numbers and sizes below 128 only."""
    if isinstance(payload, int):
        return bytes((number << 3, payload))
    return bytes((number << 3 | 2, len(payload))) + payload


def an_artifact(folder: Path, *, location: bytes = b"model.onnx.data", length: int = 8) -> Path:
    """A folder with a graph of one float tensor of two values, kept beside it."""
    entries = {b"location": location, b"offset": b"0", b"length": str(length).encode()}
    external = b"".join(
        field(13, field(1, key) + field(2, value)) for key, value in entries.items()
    )
    tensor = field(1, 2) + field(2, 1) + field(8, b"w") + external
    (folder / "model.onnx").write_bytes(field(2, b"made") + field(7, field(5, tensor)))
    (folder / "model.onnx.data").write_bytes(bytes(8))
    (folder / "genai_config.json").write_text('{"model": {"type": "phi3"}}')
    return folder


def test_an_artifact_is_described_from_its_headers(tmp_path: Path) -> None:
    description = describe(an_artifact(tmp_path))
    assert description.tensors == (Tensor("w", "float32", (2,), 8, 0, "model.onnx.data"),)
    assert ("model.type", "phi3") in description.metadata
    assert ("producer", "made") in description.metadata


@pytest.mark.parametrize("changes", [{"location": b"../secret"}, {"length": 9}])
def test_external_data_outside_of_the_folder_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(PhiError) as caught:
        describe(an_artifact(tmp_path, **changes))
    assert caught.value.code == "PHI303"


def test_a_tensor_of_too_many_dimensions_is_refused(tmp_path: Path) -> None:
    tensor = field(8, b"w") + field(1, b"\1" * 100)
    (an_artifact(tmp_path) / "model.onnx").write_bytes(field(7, field(5, tensor)))
    with pytest.raises(PhiError, match="dimensions"):
        describe(tmp_path)


def test_a_truncated_graph_is_refused(tmp_path: Path) -> None:
    graph = an_artifact(tmp_path) / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(PhiError):
        describe(tmp_path)


SCALES = {"kv_cache_scale_file": FileInput("/kv_scales.json")}
STATIC = "int8_per_channel"
PAGED = {"execution_provider": "cuda", "use_paged_attention": True}


@pytest.mark.parametrize(
    ("fields", "extras", "message"),
    [
        ({}, SCALES, "has no effect without kv_cache_quant_scheme"),
        ({"kv_cache_quant_scheme": STATIC}, {}, "requires measured scales"),
        (
            {"kv_cache_quant_scheme": STATIC, "execution_provider": "dml"},
            SCALES,
            "not supported on dml",
        ),
        ({"kv_cache_quant_scheme": "fp8_per_tensor"}, SCALES, "an fp8 cache is not supported"),
        (
            {"kv_cache_quant_scheme": "int8_per_token", "execution_provider": "cuda"},
            {},
            "requires paged attention",
        ),
        ({"kv_cache_quant_scheme": "int8_per_token", **PAGED}, SCALES, "computes its own scales"),
        ({"kv_cache_rotation": "hadamard"}, {}, "ignored without paged attention"),
        (
            {"kv_cache_quant_scheme": STATIC, "kv_cache_rotation": "hadamard", **PAGED},
            SCALES,
            "mixes the channels",
        ),
    ],
)
def test_an_unsupported_quantized_cache_is_refused(
    fields: dict[str, Any], extras: dict[str, FileInput], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as refusal:
        check(recipe(**fields), UNKNOWN_MODEL, extras)
    assert refusal.value.code == "PHI203"


def test_the_scales_of_a_cache_are_an_input_of_the_weights() -> None:
    fields = {"kv_cache_quant_scheme": STATIC}
    check(recipe(**fields), UNKNOWN_MODEL, SCALES)
    steps = steps_of(plan(recipe(**fields), UNKNOWN_MODEL, SCALES))
    inputs = {step.name: dict(step.inputs) for step in steps}
    assert inputs["onnx.weights"] == SCALES
    check(recipe(kv_cache_quant_scheme="int4_per_token", **PAGED), UNKNOWN_MODEL, {})
