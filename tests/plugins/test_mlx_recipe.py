"""The MLX recipe: its plan, and the refusals before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from phibuild_mlx.actions import generate, label, plan
from phibuild_mlx.check import check
from phibuild_mlx.describe import describe
from phibuild_mlx.recipe import MlxRecipe

from phibuild.api import (
    Action,
    FileInput,
    ModelFacts,
    RecipeError,
    SourceError,
    Tensor,
    parse_recipe,
    steps_of,
)

UNKNOWN_MODEL = ModelFacts({}, ())
LONGROPE = {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}
PHIMOE_ROPE = {**LONGROPE, "short_mscale": 1.2, "long_mscale": 1.2}


def recipe(**fields: Any) -> MlxRecipe:
    return parse_recipe(MlxRecipe, fields, builder="MLX")


def a_model(
    model_type: str = "phi3", *, widths: tuple[int, ...] = (), **changes: Any
) -> ModelFacts:
    """A model of 256 weights a row, or with tensors of the given `widths`."""
    fields = {"model_type": model_type, "hidden_size": 256, "intermediate_size": 512}
    if model_type == "phimoe":
        fields |= {"attention_bias": True, "lm_head_bias": True, "rope_scaling": PHIMOE_ROPE}
    tensors = tuple(
        Tensor(f"layer.{index}.weight", "BF16", (8, width), 16 * width)
        for index, width in enumerate(widths)
    )
    return ModelFacts(fields | changes, tensors)


def planned(**fields: Any) -> dict[str, Any]:
    """The fields of the weights' action."""
    return fields_of(actions(**fields)["mlx.weights"])


def actions(**fields: Any) -> dict[str, Action]:
    """The actions of the artifact by name."""
    steps = steps_of(plan(recipe(**fields), UNKNOWN_MODEL, {}))
    return {step.name: step for step in steps if isinstance(step, Action)}


def fields_of(action: Action) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in action.recipe}


def refusal(model: ModelFacts = UNKNOWN_MODEL, **fields: Any) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        check(recipe(**fields), model, {})
    assert caught.value.hint
    return caught.value


def test_no_fields_are_int4_with_every_default() -> None:
    assert planned() == {
        "quantize": True,
        "bits": 4,
        "group_size": 64,
        "mode": "affine",
        "quant_predicate": None,
        "dtype": "source",
    }


@pytest.mark.parametrize(
    ("fields", "bits", "group_size", "mode"),
    [
        ({"precision": "int4"}, 4, 64, "affine"),
        ({"precision": "int8"}, 8, 64, "affine"),
        ({"bits": 5, "group_size": 128}, 5, 128, "affine"),
        ({"mode": "mxfp4"}, 4, 32, "mxfp4"),
        ({"mode": "mxfp8", "precision": "int8"}, 8, 32, "mxfp8"),
        ({"mode": "nvfp4", "group_size": 16}, 4, 16, "nvfp4"),
        ({"quant_predicate": "mixed_3_6"}, 3, 64, "affine"),
        ({"quant_predicate": "mixed_4_6", "precision": "int4"}, 4, 64, "affine"),
    ],
)
def test_the_plan_of_a_quantizing_recipe(
    fields: dict[str, Any], bits: int, group_size: int, mode: str
) -> None:
    check(recipe(**fields), a_model(), {})
    plan = planned(**fields)
    assert (plan["bits"], plan["group_size"], plan["mode"]) == (bits, group_size, mode)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp16", "float16"), ("bf16", "bfloat16"), ("fp32", "float32")]
)
def test_a_float_precision_is_a_type_and_nothing_else(precision: str, dtype: str) -> None:
    assert planned(precision=precision) == {"quantize": False, "dtype": dtype}


def test_two_spellings_of_one_recipe_are_one_action() -> None:
    assert planned() == planned(precision="int4") == planned(bits=4, group_size=64, mode="affine")


def test_the_weights_depend_on_no_token_and_the_sidecar_on_no_weight() -> None:
    both = actions()
    assert both["mlx.weights"].slices == ("weights", "architecture")
    assert "weights" not in both["mlx.sidecar"].slices
    assert both["mlx.sidecar"].toolchain == "host"


def test_the_generate_action_has_the_prompt_and_the_limit() -> None:
    action = generate(FileInput("dist/model"), "Hello?", 12)
    assert fields_of(action) == {"prompt": "Hello?", "max_tokens": 12}
    assert action.inputs == (("artifact", FileInput("dist/model")),)
    assert action.worker.is_file()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "int4"),
        ({"precision": "bf16"}, "bf16"),
        ({"bits": 8}, "int8"),
        ({"bits": 3}, "3 bits"),
        ({"mode": "mxfp8"}, "mxfp8"),
        ({"quant_predicate": "mixed_2_6"}, "mixed_2_6"),
    ],
)
def test_the_label_is_the_common_name(fields: dict[str, Any], text: str) -> None:
    assert label(recipe(**fields)) == text


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"precision": "int4", "bits": 8}, "bits=8"),
        ({"precision": "int8", "bits": 4}, "bits=4"),
        ({"precision": "int4", "mode": "mxfp8"}, "mode='mxfp8'"),
        ({"precision": "int8", "mode": "nvfp4"}, "mode='nvfp4'"),
        ({"precision": "int8", "quant_predicate": "mixed_4_6"}, "quant_predicate='mixed_4_6'"),
        ({"precision": "int4", "quant_predicate": "mixed_3_6"}, "quant_predicate='mixed_3_6'"),
        ({"quant_predicate": "mixed_3_6", "bits": 3}, "bits=3"),
        ({"quant_predicate": "mixed_3_6", "mode": "mxfp4"}, "mode='mxfp4'"),
        ({"mode": "mxfp4", "group_size": 64}, "group_size=64"),
        ({"mode": "mxfp8", "bits": 4}, "bits=4"),
        ({"mode": "nvfp4", "group_size": 32}, "group_size=32"),
        ({"group_size": 16}, "group_size=16"),
        ({"precision": "fp16", "bits": 8}, "bits=8"),
        ({"precision": "fp16", "group_size": 64}, "group_size=64"),
        ({"precision": "bf16", "mode": "affine"}, "mode='affine'"),
        ({"precision": "fp32", "quant_predicate": "mixed_4_6"}, "quant_predicate='mixed_4_6'"),
        ({"precision": "fp16", "dtype": "float16"}, "dtype='float16'"),
    ],
)
def test_fields_that_contradict_or_would_be_ignored_are_refused(
    fields: dict[str, Any], named: str
) -> None:
    error = refusal(**fields)
    assert error.code == "PHI203"
    assert named in error.message


@pytest.mark.parametrize("fields", [{"bits": 7}, {"group_size": 256}, {"mode": "int4"}])
def test_values_that_mlx_does_not_have_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(**fields)
    assert caught.value.code == "PHI202"


def test_the_hint_for_a_name_of_the_command_line_is_the_field() -> None:
    with pytest.raises(RecipeError, match="q_group_size") as caught:
        recipe(q_group_size=64)
    assert "write group_size" in caught.value.hint


@pytest.mark.parametrize(
    "model",
    [
        a_model("phi", hidden_act="gelu_new", qk_layernorm=False, tie_word_embeddings=False),
        a_model("phi3", tie_word_embeddings=True, partial_rotary_factor=0.75),
        a_model("phi3", rope_scaling=LONGROPE),
        a_model("phimoe"),
    ],
)
def test_the_phi_family_is_supported(model: ModelFacts) -> None:
    for precision in ("int4", "int8", "fp16", "fp32"):
        check(recipe(precision=precision), model, {})


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (a_model("llama"), "llama"),
        (a_model(model_file="/somewhere/model.py"), "model_file"),
        (a_model(quantization_config={"quant_method": "awq"}), "quantization_config"),
        (a_model(hidden_act="relu"), "hidden_act"),
        (a_model(attention_bias=True), "attention_bias"),
        (a_model(rope_scaling={"type": "yarn", "factor": 4.0}), "yarn"),
        (a_model("phi", qk_layernorm=True), "qk_layernorm"),
        (a_model("phi", tie_word_embeddings=True), "tie_word_embeddings"),
        (a_model("phi", rope_scaling=LONGROPE), "rope_scaling"),
        (a_model("phimoe", attention_bias=None), "attention_bias"),
        (a_model("phimoe", rope_scaling=None), "rope_scaling"),
        (a_model("phimoe", rope_scaling=LONGROPE), "long_mscale"),
        (a_model("phimoe", num_experts_per_tok=3), "num_experts_per_tok"),
        (a_model(num_attention_heads=4, head_dim=32), "head_dim"),
        (a_model("phimoe", num_attention_heads=4, head_dim=128), "head_dim"),
        (a_model(num_attention_heads=3), "head"),
    ],
)
def test_a_model_that_mlx_lm_would_run_differently_is_refused(
    model: ModelFacts, named: str
) -> None:
    error = refusal(model)
    assert error.code == "PHI204"
    assert named in error.message


def test_the_hint_for_an_unsupported_model_type_lists_the_supported_ones() -> None:
    hint = refusal(a_model("llama")).hint
    assert "phi3" in hint
    assert "phimoe" in hint


def test_a_mixed_recipe_needs_the_names_that_phi_2_lacks() -> None:
    error = refusal(a_model("phi"), quant_predicate="mixed_4_6")
    assert error.code == "PHI203"
    assert "down_proj" in error.hint


def test_rows_that_groups_do_not_divide_are_refused_with_a_size_that_does() -> None:
    error = refusal(a_model(widths=(576, 1536)), group_size=128)
    assert error.code == "PHI203"
    assert "576" in error.message
    assert "32 or 64" in error.hint


def test_rows_that_no_group_divides_may_stay_floats() -> None:
    model = a_model(widths=(200,))
    assert "fp16" in refusal(model, precision="int4").hint
    check(recipe(precision="fp16"), model, {})


def test_widths_come_from_config_while_the_tensors_are_unknown() -> None:
    assert "100" in refusal(a_model(hidden_size=100)).message


def test_models_whose_rows_the_group_divides_pass() -> None:
    check(recipe(group_size=32), a_model(widths=(576, 1536)), {})


def write_artifact(folder: Path, tensors: dict[str, Any], data: bytes) -> Path:
    """An MLX model of one file with the header `tensors`."""
    header = json.dumps({"__metadata__": {"format": "mlx"}, **tensors}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    affine = {"bits": 4, "group_size": 64, "mode": "affine"}
    quantization = {**affine, "lm_head": {**affine, "bits": 6}}
    config = {"model_type": "phi3", "quantization": quantization}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


PACKED = {"dtype": "U32", "shape": [2, 8], "data_offsets": [0, 64]}
SCALES = {"dtype": "BF16", "shape": [2, 1], "data_offsets": [64, 68]}


def test_an_artifact_is_described_by_its_headers_and_its_config(tmp_path: Path) -> None:
    path = write_artifact(tmp_path, {"a.scales": SCALES, "a.weight": PACKED}, bytes(68))
    description = describe(path)
    begin = (path / "model.safetensors").stat().st_size - 68
    assert description.format == "MLX"
    assert description.tensors == (
        Tensor("a.weight", "U32", (2, 8), 64, begin, "model.safetensors"),
        Tensor("a.scales", "BF16", (2, 1), 4, begin + 64, "model.safetensors"),
    )
    assert ("quantization", "affine, 4 bits, group size 64") in description.metadata
    assert ("quantization: affine, 6 bits, group size 64", "1 matrices") in description.metadata


@pytest.mark.parametrize(
    "tensor",
    [
        {**PACKED, "data_offsets": [0, 4000]},
        {**PACKED, "data_offsets": [64, 0]},
        {**PACKED, "data_offsets": [60, 124]},
        {**PACKED, "shape": [2, -8]},
        {**PACKED, "shape": [2, 8.0]},
        {**PACKED, "dtype": "X32"},
        {"dtype": "U32"},
        "U32",
    ],
)
def test_an_inconsistent_header_is_refused(tmp_path: Path, tensor: object) -> None:
    with pytest.raises(SourceError) as caught:
        describe(write_artifact(tmp_path, {"a.weight": tensor}, bytes(64)))
    assert caught.value.code == "PHI102"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 7, b"\xff" * 8, (90).to_bytes(8, "little") + b"{}", b"\2\0\0\0\0\0\0\0[]"],
)
def test_a_file_without_a_whole_header_is_refused(tmp_path: Path, content: bytes) -> None:
    write_artifact(tmp_path, {}, b"")
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(SourceError) as caught:
        describe(tmp_path)
    assert caught.value.code == "PHI102"


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        describe(tmp_path)
    assert caught.value.code == "PHI103"
