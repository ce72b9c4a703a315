"""What the GGUF builders refuse before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from phibuild_gguf.check import check, check_imatrix
from phibuild_gguf.format.file_types import DEFAULT_TYPES, NEED_IMATRIX

from phibuild.api import (
    FileInput,
    ModelFacts,
    RecipeError,
)
from tests.plugins.gguf_recipes import (
    IMATRIX,
    TEXT,
    UNKNOWN_MODEL,
    a_model,
    imatrix_recipe,
    recipe,
)

LONGROPE = {"type": "longrope", "short_factor": [1.0] * 32, "long_factor": [2.0] * 32}


def refusal(
    model: ModelFacts = UNKNOWN_MODEL, extras: dict[str, FileInput] | None = None, **fields: Any
) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        check(recipe(**fields), model, extras or {})
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", sorted(NEED_IMATRIX))
def test_very_few_bits_are_refused_without_an_imatrix(name: str) -> None:
    error = refusal(quant=name)
    assert error.code == "PHI203"
    assert "env.Imatrix" in error.hint
    check(recipe(quant=name), UNKNOWN_MODEL, IMATRIX)


def test_a_pure_iq3_xs_has_no_tensor_that_needs_an_imatrix() -> None:
    check(recipe(quant="IQ3_XS", pure=True), UNKNOWN_MODEL, {})


@pytest.mark.parametrize("name", sorted(set(DEFAULT_TYPES) - NEED_IMATRIX))
def test_every_other_file_type_is_accepted_without_one(name: str) -> None:
    check(recipe(quant=name), UNKNOWN_MODEL, {})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "neither precision nor quant"),
        ({"precision": "int4", "quant": "Q4_K_M"}, "both given"),
        ({"precision": "fp32", "pure": True}, "pure"),
        ({"precision": "fp16", "outtype": "f32"}, "outtype"),
        ({"quant": "BF16", "overrides": {"ffn": "q8_0"}}, "overrides"),
        ({"quant": "Q4_K_M", "overrides": {"ffn": "iq2_xs"}}, "iq2_xs needs an imatrix"),
        ({"quant": "Q4_K_M", "include_weights": ["ffn"]}, "include_weights"),
        ({"quant": "Q4_K_M", "exclude_weights": ["ffn"]}, "exclude_weights"),
        (
            {"quant": "Q4_K_M", "leave_output_tensor": True, "output_tensor_type": "q8_0"},
            "contradict",
        ),
    ],
)
def test_fields_that_contradict_or_would_be_ignored_are_refused(
    fields: dict[str, Any], named: str
) -> None:
    error = refusal(**fields)
    assert error.code == "PHI203"
    assert named in error.message


@pytest.mark.parametrize("name", ["Q8_0", "MXFP4_MOE", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "F16"])
def test_an_imatrix_is_refused_for_types_that_ignore_it(name: str) -> None:
    assert refusal(extras=IMATRIX, quant=name).code == "PHI203"


def test_an_override_can_make_use_of_an_imatrix() -> None:
    check(recipe(quant="Q8_0", overrides={"ffn": "iq2_xs"}), UNKNOWN_MODEL, IMATRIX)


def test_including_and_excluding_at_once_is_refused() -> None:
    fields = {"include_weights": ["ffn"], "exclude_weights": ["attn"]}
    assert "both given" in refusal(extras=IMATRIX, quant="Q4_K_M", **fields).message


@pytest.mark.parametrize(
    "fields",
    [
        {"overrides": {"ffn": "q9_K"}},
        {"overrides": {"ffn": "q8_K"}},
        {"overrides": {"ffn": "i32"}},
        {"overrides": {"ffn": "Q4_K_M"}},
        {"output_tensor_type": "f64"},
        {"token_embedding_type": ""},
    ],
)
def test_types_that_no_tensor_can_have_are_refused_by_name(fields: dict[str, Any]) -> None:
    error = refusal(a_model(), quant="Q4_K_M", **fields)
    assert error.code == "PHI202"
    assert "q6_K" in error.hint


@pytest.mark.parametrize("pattern", ["", "ffn down", "ffn=down", r"blk\.\D", "ffn(", "[a-"])
def test_patterns_that_llama_quantize_would_change_are_refused(pattern: str) -> None:
    assert refusal(quant="Q4_K_M", overrides={pattern: "q8_0"}).code == "PHI202"


def test_tied_embeddings_have_no_output_tensor_of_their_own() -> None:
    tied = a_model(tie_word_embeddings=True)
    assert "no effect" in refusal(tied, quant="Q4_K_M", leave_output_tensor=True).message
    fields = {"output_tensor_type": "q8_0", "token_embedding_type": "q8_0"}
    assert "no effect" in refusal(tied, quant="Q4_K_M", **fields).message
    check(recipe(quant="Q4_K_M", output_tensor_type="q8_0"), tied, {})


def test_a_type_that_does_not_fit_the_rows_is_refused_for_output_and_embedding() -> None:
    narrow = a_model(hidden_size=576, num_attention_heads=9)
    for field in ("output_tensor_type", "token_embedding_type"):
        error = refusal(narrow, quant="Q4_K_M", **{field: "q6_K"})
        assert error.code == "PHI203"
        assert "576" in error.message
        check(recipe(quant="Q4_K_M", **{field: "q8_0"}), narrow, {})


def test_rows_that_q1_0_cannot_have_are_refused() -> None:
    assert "576" in refusal(a_model(widths=(256, 576)), quant="Q1_0").message
    check(recipe(quant="Q1_0"), a_model(widths=(256, 1024)), {})


def test_mxfp4_moe_is_for_models_with_experts() -> None:
    assert "Q8_0" in refusal(a_model("phi3"), quant="MXFP4_MOE").hint
    check(recipe(quant="MXFP4_MOE"), a_model("phimoe"), {})


@pytest.mark.parametrize(
    "model",
    [
        a_model("phi", hidden_act="gelu_new", qk_layernorm=False, partial_rotary_factor=0.25),
        a_model("phi3", architectures=["Phi3ForCausalLM"], sliding_window=2047),
        a_model("phi3", rope_scaling=LONGROPE, tie_word_embeddings=True),
        a_model("phimoe", rope_scaling=LONGROPE, num_local_experts=16),
    ],
)
def test_the_phi_family_is_supported(model: ModelFacts) -> None:
    for precision in ("int4", "int8", "fp16", "fp32"):
        check(recipe(precision=precision), model, {})
    check_imatrix(imatrix_recipe(), model, TEXT)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (a_model("llama"), "llama"),
        (a_model("phi3", architectures=["Phi3ForSequenceClassification"]), "architectures"),
        (a_model("phi3", rope_scaling={"type": "yarn", "factor": 4.0}), "yarn"),
        (a_model("phi3", rope_scaling={**LONGROPE, "long_factor": [1.0]}), "long_factor"),
        (a_model("phi3", attention_bias=True), "attention_bias"),
        (a_model("phi3", hidden_act="gelu"), "hidden_act"),
        (a_model("phi3", head_dim=80), "head_dim"),
        (a_model("phi3", quantization_config={"quant_method": "awq"}), "quantization_config"),
        (a_model("phi3", num_attention_heads=3), "heads"),
        (a_model("phi", intermediate_size=512), "intermediate_size"),
        (a_model("phi", num_key_value_heads=2), "key heads"),
        (a_model("phi", qk_layernorm=True), "qk_layernorm"),
        (a_model("phi", rope_theta=1e6), "rope_theta"),
        (a_model("phi", rope_scaling={"type": "linear", "factor": 2.0}), "rope_scaling"),
        (a_model("phi", partial_rotary_factor=0.4), "25 dimensions"),
        (a_model("phi", tie_word_embeddings=True), "tie_word_embeddings"),
        (a_model("phimoe", attention_bias=False), "attention_bias"),
        (a_model("phimoe", lm_head_bias=False), "lm_head_bias"),
        (a_model("phimoe", num_experts_per_tok=1), "num_experts_per_tok"),
    ],
)
def test_a_model_that_llama_cpp_does_not_run_correctly_is_refused(
    model: ModelFacts, named: str
) -> None:
    error = refusal(model, precision="int4")
    assert error.code == "PHI204"
    assert named in error.message
    with pytest.raises(RecipeError, match="PHI204"):
        check_imatrix(imatrix_recipe(), model, TEXT)


def test_an_imatrix_needs_a_text_and_chunks_that_the_model_can_read() -> None:
    with pytest.raises(RecipeError, match="text is missing"):
        check_imatrix(imatrix_recipe(), UNKNOWN_MODEL, {})
    with pytest.raises(RecipeError, match="4096 tokens"):
        check_imatrix(imatrix_recipe(ctx_size=8192), a_model(), TEXT)


@pytest.mark.parametrize(
    ("name", "now"), [("tensor_type", "overrides"), ("ftype", "quant"), ("qtype", "quant")]
)
def test_outdated_names_are_refused_with_the_new_ones(name: str, now: str) -> None:
    with pytest.raises(RecipeError, match=name) as caught:
        recipe(**{name: "q8_0"})
    assert f"write {now}" in caught.value.hint


AGAINST_TARGET = {
    "precision": "int4",
    "quant": "Q4_K_M",
    "overrides": {"ffn_down": "q8_0"},
    "pure": True,
    "output_tensor_type": "q8_0",
    "token_embedding_type": "q8_0",
    "leave_output_tensor": True,
    "split_max_size": "1 GB",
}


@pytest.mark.parametrize("field", AGAINST_TARGET)
def test_what_contradicts_a_target_is_refused_by_name(field: str) -> None:
    error = refusal(target_bytes="2 GB", **{field: AGAINST_TARGET[field]})
    assert error.code == "PHI203"
    assert f"target_bytes and {field}" in error.message
