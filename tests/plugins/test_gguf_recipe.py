"""The actions that GGUF recipes give."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from phibuild_gguf.actions import generate, label, label_imatrix, plan, plan_imatrix
from phibuild_gguf.format.file_types import FLOATS

from phibuild.api import (
    Action,
    FileInput,
    steps_of,
)
from phibuild.testing.contract import BackendContract
from tests.plugins.gguf_recipes import (
    IMATRIX,
    TEXT,
    UNKNOWN_MODEL,
    fields_of,
    imatrix_recipe,
    recipe,
)


class TestGgufBackend(BackendContract):
    backend_name = "gguf"
    good_fields: ClassVar = [
        {"precision": "int4"},
        {"precision": "int8"},
        {"precision": "fp16"},
        {"precision": "fp32"},
        {"quant": "BF16"},
        {"quant": "Q5_K_S", "overrides": {"ffn_down": "q8_0"}},
        {"quant": "Q4_K_M", "outtype": "f32"},
        {"quant": "Q4_K_M", "model_name": "Phi-3 of ours"},
        {"quant": "Q4_K_M", "pre_tokenizer": "gpt-4o"},
        {"quant": "Q4_K_M", "pure": True},
        {"quant": "Q4_K_M", "split_max_size": "1 GB"},
        {"quant": "Q4_K_M", "leave_output_tensor": True},
        {"quant": "Q4_K_M", "output_tensor_type": "q8_0", "token_embedding_type": "q4_0"},
        {"target_bytes": "2.2 GB"},
        {"target_bytes": 2_200_000_000, "outtype": "f32", "model_name": "Phi-3 of ours"},
    ]
    bad_fields: ClassVar = [
        {},
        {"precision": "int4", "quant": "Q4_K_M"},
        {"precision": "int2"},
        {"quant": "Q4_K_X"},
        {"quant": "IQ2_XS"},
        {"precision": "fp16", "overrides": {"ffn_down": "q8_0"}},
        {"quant": "Q4_K_M", "overrides": {"ffn_down": "q9_0"}},
        {"target_bytes": "2 parsecs"},
        {"target_bytes": "2 GB", "include_weights": ["ffn"]},
    ]


class TestGgufBackendWithImatrix(BackendContract):
    backend_name = "gguf"
    good_fields: ClassVar = [
        {"quant": "IQ2_XS"},
        {"quant": "Q4_K_M", "include_weights": ["ffn"]},
        {"quant": "Q4_K_M", "exclude_weights": ["attn"]},
    ]
    bad_fields: ClassVar = [{"quant": "F16"}]
    extras: ClassVar = {"imatrix": "weights.imatrix"}


class TestImatrixBackend(BackendContract):
    backend_name = "imatrix"
    good_fields: ClassVar = [
        {},
        {"precision": "int8"},
        {"quant": "Q5_K_M"},
        {"model_name": "Phi-3 of ours"},
        {"pre_tokenizer": "gpt-4o"},
        {"ctx_size": 4096},
        {"chunks": 8},
        {"from_chunk": 2},
        {"process_output": True},
        {"parse_special": True},
        {"outtype": "f32"},
        {"precision": "fp16"},
    ]
    bad_fields: ClassVar = [
        {"precision": "int4", "quant": "Q4_K_M"},
        {"quant": "IQ1_S"},
        {"ctx_size": 500},
        {"chunks": 0},
        {"precision": "fp16", "outtype": "f32"},
    ]
    extras: ClassVar = {"text": "calibration.txt"}

    def test_fp32_and_the_outtype_f32_are_one_model(self) -> None:
        action = plan_imatrix(imatrix_recipe(precision="fp32"), UNKNOWN_MODEL, TEXT)
        assert action == plan_imatrix(imatrix_recipe(outtype="f32"), UNKNOWN_MODEL, TEXT)


def input_of(action: Action, name: str = "model") -> Action:
    step = dict(action.inputs)[name]
    assert isinstance(step, Action)
    return step


# Actions


@pytest.mark.parametrize(
    ("fields", "file_type"),
    [
        ({"precision": "int4"}, "Q4_K_M"),
        ({"precision": "int8"}, "Q8_0"),
        ({"precision": "fp16"}, "F16"),
        ({"precision": "fp32"}, "F32"),
        ({"quant": "Q4_K"}, "Q4_K_M"),
        ({"quant": "Q3_K"}, "Q3_K_M"),
        ({"quant": "Q5_K"}, "Q5_K_M"),
        ({"quant": "IQ4_XS"}, "IQ4_XS"),
    ],
)
def test_precisions_and_short_names_stand_for_file_types(
    fields: dict[str, Any], file_type: str
) -> None:
    assert recipe(**fields).file_type == file_type
    assert label(recipe(**fields)) == file_type


def test_a_file_is_written_from_the_weights_with_defaults_spelt_out() -> None:
    action = plan(recipe(quant="Q4_K_M"), UNKNOWN_MODEL, {})
    assert (action.name, action.toolchain, action.tools) == ("gguf.write", "host", ("llama.cpp",))
    assert action.slices == ("weights", "architecture")
    assert fields_of(action) == {
        "quant": "Q4_K_M",
        "outtype": "auto",
        "overrides": [],
        "output_tensor_type": None,
        "token_embedding_type": None,
        "pure": False,
        "leave_output_tensor": False,
        "include_weights": [],
        "exclude_weights": [],
        "split_max_size": None,
    }
    assert input_of(action, "metadata").name == "gguf.metadata"


@pytest.mark.parametrize("name", sorted(FLOATS))
def test_a_float_file_is_written_without_a_quantizer(name: str) -> None:
    action = plan(recipe(quant=name), UNKNOWN_MODEL, {})
    assert action.name == "gguf.write"
    assert fields_of(action)["quant"] is None
    assert fields_of(action)["outtype"] == FLOATS[name]


def test_types_for_a_target_are_chosen_before_anything_is_written() -> None:
    action = plan(recipe(target_bytes="2.2 GB"), UNKNOWN_MODEL, IMATRIX)
    assert label(recipe(target_bytes="2.2 GB")) == "target_bytes=2200000000"
    needed = [step.name for step in steps_of(action)]
    assert needed.index("gguf.choices") < needed.index("gguf.sensitivity")
    # Another limit measures nothing again, and writes only if it chooses otherwise.
    other = plan(recipe(target_bytes="2 GB"), UNKNOWN_MODEL, IMATRIX)
    assert other.recipe == action.recipe
    measured = {
        step
        for needed in map(steps_of, (action, other))
        for step in needed
        if step.name == "gguf.sensitivity"
    }
    assert len(measured) == 1


def test_files_of_one_model_share_its_metadata() -> None:
    mixed = plan(recipe(quant="Q4_K_M"), UNKNOWN_MODEL, {})
    pure = plan(recipe(quant="Q6_K", pure=True), UNKNOWN_MODEL, {})
    imatrix = input_of(plan_imatrix(imatrix_recipe(), UNKNOWN_MODEL, TEXT))
    metadata = {input_of(action, "metadata") for action in (mixed, pure, imatrix)}
    assert len(metadata) == 1


def test_two_spellings_of_one_recipe_are_one_action() -> None:
    assert plan(recipe(precision="int4"), UNKNOWN_MODEL, {}) == plan(
        recipe(quant="Q4_K"), UNKNOWN_MODEL, {}
    )
    small = recipe(quant="Q8_0", overrides={"ffn_down": "Q6_k"}, output_tensor_type="F16")
    exact = recipe(quant="Q8_0", overrides={"ffn_down": "q6_K"}, output_tensor_type="f16")
    assert plan(small, UNKNOWN_MODEL, {}) == plan(exact, UNKNOWN_MODEL, {})


def test_overrides_keep_their_order_since_the_first_match_counts() -> None:
    action = plan(
        recipe(quant="Q4_K_M", overrides={"blk.0.ffn": "f16", "ffn": "q8_0"}), UNKNOWN_MODEL, {}
    )
    assert fields_of(action)["overrides"] == [["blk.0.ffn", "f16"], ["ffn", "q8_0"]]


def test_an_imatrix_is_an_input_of_the_tensors_alone() -> None:
    action = plan(recipe(quant="IQ2_XS"), UNKNOWN_MODEL, IMATRIX)
    assert dict(action.inputs)["imatrix"] == FileInput("imatrix.gguf")
    assert input_of(action, "metadata") == input_of(
        plan(recipe(quant="Q4_K_M"), UNKNOWN_MODEL, {}), "metadata"
    )


def test_an_imatrix_runs_the_unquantized_model_by_default() -> None:
    action = plan_imatrix(imatrix_recipe(), UNKNOWN_MODEL, TEXT)
    assert (action.name, input_of(action).name) == ("gguf.imatrix", "gguf.write")
    assert fields_of(action) == {
        "ctx_size": 512,
        "chunks": None,
        "from_chunk": 0,
        "process_output": False,
        "parse_special": False,
    }
    assert label_imatrix(imatrix_recipe()) == "of the unquantized model"
    quantized = plan_imatrix(imatrix_recipe(precision="int8"), UNKNOWN_MODEL, TEXT)
    assert input_of(quantized) == plan(recipe(precision="int8"), UNKNOWN_MODEL, {})


def test_generation_gets_the_prompt_and_the_limit() -> None:
    action = generate(FileInput("dist/model.gguf"), "Hello?", 12)
    assert fields_of(action) == {"prompt": "Hello?", "max_tokens": 12}
    assert action.inputs == (("artifact", FileInput("dist/model.gguf")),)
