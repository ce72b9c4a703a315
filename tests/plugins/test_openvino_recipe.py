"""The OpenVINO recipe: its plan, and the refusals before anything runs."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import phibuild_openvino
import pytest
from phibuild_openvino.actions import generate, label, plan
from phibuild_openvino.check import check
from phibuild_openvino.recipe import METRICS, OpenVinoRecipe

import phibuild.worker
from phibuild.api import (
    Action,
    Assembly,
    FileInput,
    ModelFacts,
    RecipeError,
    Step,
    Tensor,
    parse_recipe,
    steps_of,
)

UNKNOWN_MODEL = ModelFacts({}, ())
TEXT = FileInput("text.txt")

INT4 = {
    "precision": "int4",
    "sym": False,
    "group_size": 128,
    "ratio": 1.0,
    "sensitivity_metric": "weight_quantization_error",
    "backup_precision": "int8_asym",
    "all_layers": False,
    "awq": False,
}


def recipe(**fields: Any) -> OpenVinoRecipe:
    return parse_recipe(OpenVinoRecipe, fields, builder="OpenVINO")


def a_model(
    model_type: str = "phi3", *, widths: tuple[int, ...] = (), **changes: Any
) -> ModelFacts:
    """A model of 256 weights a row, or with tensors of the given `widths`."""
    fields = {"model_type": model_type, "hidden_size": 256, "intermediate_size": 512}
    tensors = tuple(
        Tensor(f"layer.{index}.weight", "BF16", (8, width), 16 * width)
        for index, width in enumerate(widths)
    )
    return ModelFacts(fields | changes, tensors)


def planned(calibration: FileInput | None = None, **fields: Any) -> Assembly:
    extras = {} if calibration is None else {"calibration": calibration}
    checked = recipe(**fields)
    check(checked, UNKNOWN_MODEL, extras)
    return plan(checked, UNKNOWN_MODEL, extras)


def action_of(step: Step, name: str) -> Action:
    """The action of this name among all that a step requires."""
    action = next(each for each in steps_of(step) if each.name == f"openvino.{name}")
    assert isinstance(action, Action)
    return action


def fields_of(action: Action) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in action.recipe}


def refusal(
    model: ModelFacts = UNKNOWN_MODEL, calibration: FileInput | None = None, **fields: Any
) -> RecipeError:
    extras = {} if calibration is None else {"calibration": calibration}
    with pytest.raises(RecipeError) as caught:
        check(recipe(**fields), model, extras)
    assert caught.value.hint
    return caught.value


def test_no_fields_are_int4_with_every_default() -> None:
    assert fields_of(action_of(planned(), "weights")) == INT4


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"precision": "fp16"}, {"precision": "fp16"}),
        ({"precision": "fp32"}, {"precision": "fp32"}),
        ({"precision": "int8"}, {"precision": "int8", "sym": False}),
        ({"precision": "int8", "sym": True}, {"precision": "int8", "sym": True}),
        ({"precision": "int8", "group_size": -1, "ratio": 1}, {"precision": "int8", "sym": False}),
        ({"group_size": -1}, INT4 | {"group_size": -1}),
        (
            {"group_size": 64, "ratio": 0.6, "sym": True},
            INT4 | {"group_size": 64, "ratio": 0.6, "sym": True},
        ),
        ({"backup_precision": "none"}, INT4 | {"backup_precision": "none"}),
        ({"all_layers": True, "awq": True}, INT4 | {"all_layers": True, "awq": True}),
    ],
)
def test_the_plan_of_a_recipe_without_calibration(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert fields_of(action_of(planned(**fields), "weights")) == expected


@pytest.mark.parametrize(
    ("name", "slices"),
    [
        ("weights", ("weights", "architecture")),
        ("tokenizer", ("architecture", "tokenizer")),
        ("sidecar", ("architecture", "tokenizer", "chat_template", "generation")),
    ],
)
def test_each_action_depends_on_its_slices_only(name: str, slices: tuple[str, ...]) -> None:
    assert action_of(planned(), name).slices == slices


def test_the_sidecar_needs_no_framework() -> None:
    assert action_of(planned(), "sidecar").toolchain == "host"


def test_a_calibration_text_guides_a_second_action() -> None:
    step = planned(TEXT, scale_estimation=True, group_size=64)
    action = action_of(step, "compress")
    assert fields_of(action) == INT4 | {
        "group_size": 64,
        "sensitivity_metric": "max_activation_variance",
        "scale_estimation": True,
        "gptq": False,
        "lora_correction": False,
        "num_samples": 128,
        "seq_len": 32,
    }
    assert action.slices == ()
    assert dict(step.inputs)["model"] == action
    assert dict(action_of(step, "tokens").inputs)["calibration"] == TEXT
    assert fields_of(action_of(action, "weights")) == {"precision": "stored"}


def test_recipes_that_differ_in_the_compression_only_share_the_export() -> None:
    first = planned(TEXT, gptq=True, sym=True)
    second = planned(TEXT, awq=True, num_samples=8, seq_len=256)
    assert first != second
    assert action_of(first, "weights") == action_of(second, "weights")


def test_the_generate_action_has_the_prompt_and_the_limit() -> None:
    action = generate(FileInput("dist/ir"), "Hello?", 8)
    assert fields_of(action) == {"prompt": "Hello?", "max_tokens": 8}
    assert action.inputs == (("artifact", FileInput("dist/ir")),)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "int4 asym g128"),
        ({"sym": True, "group_size": 64, "ratio": 0.6}, "int4 sym g64 ratio 0.6"),
        ({"group_size": -1}, "int4 asym per channel"),
        ({"precision": "int8"}, "int8 asym"),
        ({"precision": "fp16"}, "fp16"),
    ],
)
def test_labels_distinguish_artifacts_of_one_model(fields: dict[str, Any], text: str) -> None:
    assert label(recipe(**fields)) == text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"precision": "fp16", "sym": True}, "sym=True has no effect"),
        ({"precision": "fp32", "group_size": -1}, "group_size=-1 has no effect"),
        ({"precision": "int8", "group_size": 128}, "group_size=128 has no effect"),
        ({"precision": "int8", "ratio": 0.5}, "ratio=0.5 has no effect"),
        ({"precision": "int8", "awq": True}, "awq=True has no effect"),
        ({"precision": "int8", "all_layers": True}, "all_layers=True has no effect"),
        ({"precision": "int8", "backup_precision": "none"}, "backup_precision='none'"),
        ({"precision": "int8", "num_samples": 4}, "num_samples=4 has no effect"),
        ({"ratio": 0}, "treat ratio=0 as 1"),
        ({"group_size": 0}, "group_size must be positive or -1"),
        ({"sensitivity_metric": METRICS[0]}, "has no effect with ratio=1"),
        ({"all_layers": True, "backup_precision": "none"}, "has no effect with all_layers=True"),
        ({"ratio": 0.5, "sensitivity_metric": METRICS[1]}, "requires a calibration text"),
        ({"scale_estimation": True}, "requires a calibration text"),
        ({"gptq": True}, "requires a calibration text"),
        ({"lora_correction": True}, "requires a calibration text"),
        ({"gptq": True, "lora_correction": True}, "gptq and lora_correction"),
        ({"seq_len": 64}, "no effect without a calibration text"),
        ({"num_samples": 64}, "no effect without a calibration text"),
    ],
)
def test_fields_that_contradict_or_would_be_ignored_are_refused(
    fields: dict[str, Any], words: str
) -> None:
    error = refusal(**fields)
    assert error.code == "PHI203"
    assert words in error.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "would not be read"),
        ({"group_size": 64, "sym": True}, "would not be read"),
        ({"ratio": 0.5, "sensitivity_metric": "weight_quantization_error"}, "would not be read"),
        ({"precision": "int8"}, "has no effect with precision='int8'"),
        ({"precision": "fp32"}, "has no effect with precision='fp32'"),
    ],
)
def test_a_calibration_text_that_nothing_uses_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    error = refusal(calibration=TEXT, **fields)
    assert error.code == "PHI203"
    assert words in error.message


@pytest.mark.parametrize("metric", METRICS[1:])
def test_a_ratio_by_activations_uses_the_calibration_text(metric: str) -> None:
    action = action_of(planned(TEXT, ratio=0.5, sensitivity_metric=metric), "compress")
    assert fields_of(action)["sensitivity_metric"] == metric


@pytest.mark.parametrize(
    "fields",
    [
        {"precision": "nf4"},
        {"group_size": -2},
        {"group_size": "128"},
        {"ratio": 1.5},
        {"backup_precision": "int4"},
        {"sensitivity_metric": "hessian"},
        {"num_samples": 0},
        {"seq_len": 0},
        {"awq": 1},
    ],
)
def test_values_that_nncf_does_not_have_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(**fields)
    assert caught.value.code == "PHI202"


@pytest.mark.parametrize(
    ("name", "field"),
    [("weight_format", "precision"), ("backup_mode", "backup_precision"), ("dataset", "calib")],
)
def test_the_hint_for_a_name_of_the_toolkits_is_the_field(name: str, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(**{name: "int4"})
    assert caught.value.code == "PHI201"
    assert field in caught.value.hint


@pytest.mark.parametrize("model_type", ["phi", "phi3", "phimoe"])
@pytest.mark.parametrize("precision", ["int4", "int8", "fp16", "fp32"])
def test_the_phi_family_is_supported(model_type: str, precision: str) -> None:
    check(recipe(precision=precision), a_model(model_type), {})


def test_the_hint_for_an_unsupported_model_type_lists_the_supported_ones() -> None:
    error = refusal(a_model("llama"))
    assert error.code == "PHI204"
    assert "'llama'" in error.message
    assert "phimoe" in error.hint


def test_an_activation_that_transformers_does_not_have_is_refused() -> None:
    check(recipe(), a_model("phi", hidden_act="gelu_new"), {})
    error = refusal(a_model(hidden_act="wave"))
    assert error.code == "PHI204"
    assert "'wave'" in error.message


def test_keys_that_queries_share_in_phi_are_refused() -> None:
    check(recipe(), a_model("phi", num_attention_heads=4, num_key_value_heads=4), {})
    check(recipe(), a_model("phi3", num_attention_heads=4, num_key_value_heads=2), {})
    error = refusal(a_model("phi", num_attention_heads=4, num_key_value_heads=2))
    assert error.code == "PHI204"


def test_a_quantized_checkpoint_is_refused() -> None:
    assert refusal(a_model(quantization_config={"quant_method": "gptq"})).code == "PHI204"


@pytest.mark.parametrize(
    ("model_type", "fields"),
    [
        ("phi", {"awq": True}),
        ("phimoe", {"lora_correction": True}),
        ("phimoe", {"gptq": True}),
    ],
)
def test_methods_that_nncf_does_not_support_in_an_architecture_are_refused(
    model_type: str, fields: dict[str, Any]
) -> None:
    calibrated = {"calibration": TEXT}
    with pytest.raises(RecipeError) as caught:
        check(recipe(**fields), a_model(model_type), calibrated)
    assert caught.value.code == "PHI204"
    assert caught.value.hint
    check(recipe(**fields, sym=True), a_model("phi3"), calibrated)


def test_gptq_is_supported_for_experts_without_zero_points() -> None:
    check(recipe(gptq=True, sym=True), a_model("phimoe"), {"calibration": TEXT})


def test_rows_that_groups_do_not_divide_are_refused_with_the_sizes_that_do() -> None:
    error = refusal(a_model(widths=(576, 1536)))
    assert "rows of 576" in error.message
    assert error.hint == "use group_size=16 or 32 or 64"


def test_the_hint_for_rows_that_no_usual_group_divides_is_one_scale() -> None:
    assert "group_size=-1" in refusal(a_model(widths=(300,))).hint


def test_widths_come_from_config_while_the_tensors_are_unknown() -> None:
    assert "rows of 576" in refusal(a_model(hidden_size=576)).message


@pytest.mark.parametrize(
    "fields", [{"group_size": 64}, {"group_size": -1}, {"group_size": 96}, {"precision": "int8"}]
)
def test_group_sizes_that_divide_every_row_pass(fields: dict[str, Any]) -> None:
    check(recipe(**fields), a_model(widths=(576, 1536)), {})


def test_pieces_longer_than_the_context_are_refused() -> None:
    model = a_model(max_position_embeddings=4096)
    error = refusal(model, TEXT, awq=True, seq_len=5000)
    assert "4096" in error.message


@pytest.fixture
def pieces_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The worker's function that divides the calibration text."""
    monkeypatch.syspath_prepend(Path(phibuild_openvino.__file__).parent)
    monkeypatch.syspath_prepend(Path(phibuild.worker.__file__).parent)
    return importlib.import_module("worker_compress").pieces_of


def test_pieces_are_spread_evenly_over_the_text(pieces_of: Any) -> None:
    assert pieces_of(range(10), seq_len=2, most=3) == [range(2), range(2, 4), range(6, 8)]


def test_a_short_text_gives_fewer_pieces_without_a_rest(pieces_of: Any) -> None:
    assert pieces_of([1, 2, 3, 4, 5], seq_len=2, most=128) == [[1, 2], [3, 4]]


def test_a_text_without_one_whole_piece_is_refused(pieces_of: Any) -> None:
    with pytest.raises(Exception, match="5 tokens, fewer than one piece of 8"):
        pieces_of([1, 2, 3, 4, 5], seq_len=8, most=128)
