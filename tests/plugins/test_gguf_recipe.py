"""The GGUF recipes: what they come to, what is refused before anything runs, and what is read."""

from __future__ import annotations

import importlib
import json
import struct
from pathlib import Path
from typing import Any, ClassVar

import pytest
from phibuild_gguf.actions import generate, label, label_imatrix, plan, plan_imatrix
from phibuild_gguf.check import check, check_imatrix
from phibuild_gguf.describe import describe, describe_imatrix
from phibuild_gguf.file_types import DEFAULT_TYPES, FLOATS, NEED_IMATRIX
from phibuild_gguf.ggml_types import BY_NAME, TARGETS
from phibuild_gguf.gguf_header import read_header
from phibuild_gguf.llama_cpp import build, build_folder
from phibuild_gguf.pre_tokenizers import PRE_TOKENIZERS, recognised
from phibuild_gguf.recipe import GgufRecipe, ImatrixRecipe

import phibuild.worker
from phibuild.api import (
    Action,
    FileInput,
    ModelFacts,
    PhiError,
    RecipeError,
    Tensor,
    ToolchainError,
    find_compiler,
    parse_recipe,
    steps_of,
)
from phibuild.testing.contract import BackendContract
from phibuild.testing.tokenizer_files import tokenizer_json
from phibuild.testing.tokenizers import make_tokenizer

UNKNOWN_MODEL = ModelFacts({}, ())
IMATRIX = {"imatrix": FileInput("imatrix.gguf")}
TEXT = {"text": FileInput("calibration.txt")}
LONGROPE = {"type": "longrope", "short_factor": [1.0] * 32, "long_factor": [2.0] * 32}


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


class TestImatrixBackend(BackendContract):
    backend_name = "imatrix"
    good_fields: ClassVar = [
        {},
        {"precision": "int8"},
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
        one = plan_imatrix(imatrix_recipe(precision="fp32"), UNKNOWN_MODEL, TEXT)
        assert one == plan_imatrix(imatrix_recipe(outtype="f32"), UNKNOWN_MODEL, TEXT)


def recipe(**fields: Any) -> GgufRecipe:
    return parse_recipe(GgufRecipe, fields, builder="GGUF")


def imatrix_recipe(**fields: Any) -> ImatrixRecipe:
    return parse_recipe(ImatrixRecipe, fields, builder="Imatrix")


def a_model(
    model_type: str = "phi3", *, widths: tuple[int, ...] = (), **changes: Any
) -> ModelFacts:
    """A model with 4 heads of 64; `widths` are those of its tensors' rows."""
    fields: dict[str, Any] = {
        "model_type": model_type,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "max_position_embeddings": 4096,
    }
    if model_type == "phimoe":
        fields |= {"attention_bias": True, "lm_head_bias": True}
    tensors = tuple(
        Tensor(f"layer.{index}.weight", "BF16", (8, width), 16 * width)
        for index, width in enumerate(widths)
    )
    return ModelFacts(fields | changes, tensors)


def refusal(
    model: ModelFacts = UNKNOWN_MODEL, extras: dict[str, FileInput] | None = None, **fields: Any
) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        check(recipe(**fields), model, extras or {})
    assert caught.value.hint
    return caught.value


def fields_of(action: Action) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in action.recipe}


def input_of(action: Action, name: str = "model") -> Action:
    found = dict(action.inputs)[name]
    assert isinstance(found, Action)
    return found


# What recipes come to


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
        "file_type": "Q4_K_M",
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
    assert fields_of(action)["file_type"] is None
    assert fields_of(action)["outtype"] == FLOATS[name]


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


def test_types_for_a_target_are_chosen_before_anything_is_written() -> None:
    action = plan(recipe(target_bytes="2.2 GB"), UNKNOWN_MODEL, IMATRIX)
    assert label(recipe(target_bytes="2.2 GB")) == "target_bytes=2200000000"
    needed = [step.name for step in steps_of(action)]
    assert needed.index("gguf.choices") < needed.index("gguf.sensitivity")
    # Another limit measures nothing again, and writes only if it chooses otherwise.
    other = plan(recipe(target_bytes="2 GB"), UNKNOWN_MODEL, IMATRIX)
    assert other.recipe == action.recipe
    measured = {
        step for one in (action, other) for step in steps_of(one) if step.name == "gguf.sensitivity"
    }
    assert len(measured) == 1


def test_files_of_one_model_share_its_metadata() -> None:
    one = plan(recipe(quant="Q4_K_M"), UNKNOWN_MODEL, {})
    other = plan(recipe(quant="Q6_K", pure=True), UNKNOWN_MODEL, {})
    imatrix = input_of(plan_imatrix(imatrix_recipe(), UNKNOWN_MODEL, TEXT))
    metadata = {input_of(action, "metadata") for action in (one, other, imatrix)}
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


def test_an_imatrix_runs_the_unquantized_model_unless_told_otherwise() -> None:
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


def test_generation_is_told_the_prompt_and_the_limit() -> None:
    action = generate(FileInput("dist/model.gguf"), "Hello?", 12)
    assert fields_of(action) == {"prompt": "Hello?", "max_tokens": 12}
    assert action.inputs == (("artifact", FileInput("dist/model.gguf")),)


# What is refused


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
def test_an_imatrix_is_refused_where_nobody_looks_at_it(name: str) -> None:
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
def test_patterns_that_llama_quantize_would_read_otherwise_are_refused(pattern: str) -> None:
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
    ],
)
def test_what_llama_cpp_would_run_otherwise_than_trained_is_refused(
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
def test_names_of_the_past_are_led_to_the_fields(name: str, now: str) -> None:
    with pytest.raises(RecipeError, match=name) as caught:
        recipe(**{name: "q8_0"})
    assert f"write {now}" in caught.value.hint


# How text is split


@pytest.mark.parametrize(
    ("kind", "name"), [("phi-2", "gpt-2"), ("phi-4-mini", "gpt-4o"), ("phi-3", None)]
)
def test_the_way_of_splitting_is_recognised_by_its_rule(kind: Any, name: str | None) -> None:
    assert recognised(tokenizer_json(make_tokenizer(kind, 1024))) == name


def test_the_splitting_of_single_digits_is_recognised() -> None:
    digits = {"type": "Digits", "individual_digits": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    rule = {"type": "Sequence", "pretokenizers": [digits, byte_level]}
    assert recognised({"model": {}, "pre_tokenizer": rule}) == "smollm"


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "NFC"}},
        {"model": {"ignore_merges": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": None},
    ],
)
def test_what_llama_cpp_has_no_name_for_is_not_guessed(changes: dict[str, Any]) -> None:
    plain = {"model": {}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}}
    assert recognised(plain) == "gpt-2"
    assert recognised(plain | changes) is None


def test_recognised_names_are_names_that_can_be_written() -> None:
    assert {"gpt-2", "smollm", "gpt-4o", "dbrx", "qwen2"} <= set(PRE_TOKENIZERS)


# The toolchain


def test_the_toolchain_is_built_from_the_pinned_source_by_a_named_compiler() -> None:
    action = build()
    assert action.toolchain == "host"
    assert action.network
    assert fields_of(action)["compiler"] == find_compiler().identity
    assert not any("/" in fields_of(action)[name] for name in ("cc", "cxx"))
    names = {path.name for path in action.worker_files}
    assert {"CMakeLists.txt", "source.lock"} <= names
    assert "README.md" not in names


def test_a_checkout_is_an_input_and_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PHIBUILD_LLAMA_CPP", str(tmp_path))
    action = build()
    assert dict(action.inputs)["checkout"] == FileInput(str(tmp_path))
    assert not action.network


def test_another_flag_is_another_toolchain(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build()
    monkeypatch.setenv("PHIBUILD_LLAMA_CPP_FLAGS", "-DPHIBUILD_X86_64_LEVEL=2 '-DA=b c'")
    action = build()
    assert fields_of(action)["flags"] == ["-DPHIBUILD_X86_64_LEVEL=2", "-DA=b c"]
    monkeypatch.setenv("PHIBUILD_LLAMA_CPP_FLAGS", "")
    assert build() == plain != action


def test_an_incomplete_installation_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("phibuild_gguf.llama_cpp._HERE", tmp_path / "plugins" / "phibuild_gguf")
    with pytest.raises(ToolchainError, match="neither"):
        build_folder()


# Files


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], number: int, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", number, offset)


def gguf(
    entries: list[bytes], tensors: list[bytes], data: int, *, counts: tuple[int, int] | None = None
) -> bytes:
    """A GGUF file with `data` bytes of tensors, that claims other counts if told so."""
    tensor_count, entry_count = counts or (len(tensors), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", 3, tensor_count, entry_count)
    head += b"".join((*entries, *tensors))
    return head + bytes(-len(head) % 32) + bytes(data)


NAME = entry("general.name", 8, text("Phi\nof mine"))
TOKENS = entry("tokens", 9, struct.pack("<IQ", 8, 20) + b"".join(text(f"t{i}") for i in range(20)))
FACTOR = entry("factor", 6, struct.pack("<f", 1.25))
WEIGHT = tensor("blk.0.ffn_down.weight", (256, 4), 12, 0)
NORM = tensor("blk.0.attn_norm.weight", (256,), 0, 576)
SOUND = gguf([NAME, TOKENS, FACTOR], [WEIGHT, NORM], 576 + 1024)


def test_a_file_is_described_with_what_is_long_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(SOUND)
    found = describe(path)
    start = len(SOUND) - 576 - 1024
    assert found.format == "GGUF"
    assert found.tensors == (
        Tensor("blk.0.ffn_down.weight", "q4_K", (256, 4), 576, start),
        Tensor("blk.0.attn_norm.weight", "f32", (256,), 1024, start + 576),
    )
    assert found.metadata == (
        ("general.name", "Phi\\nof mine"),
        ("tokens", "[t0, t1, t2, t3, t4, t5, t6, t7, ...] (20)"),
        ("factor", "1.25"),
    )
    assert describe_imatrix(path).format == "imatrix"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin"),
        (b"safetensors", "does not begin"),
        (SOUND[:10], "middle of its header"),
        (SOUND[:100], "has room"),
        (SOUND[:-1], "does not lie within"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
        (gguf([], [], 0, counts=(2**60, 0)), "tensors"),
        (gguf([], [], 0, counts=(0, 2**60)), "keys"),
        (gguf([entry("a", 77, b"")], [], 64), "unknown type 77"),
        (gguf([entry("a", 8, struct.pack("<Q", 2**63))], [], 64), "middle of its header"),
        (gguf([entry("a", 9, struct.pack("<IQ", 4, 2**62))], [], 64), "numbers"),
        (gguf([entry("a", 9, struct.pack("<IQ", 8, 2**62))], [], 64), "texts"),
        (gguf([entry("a", 9, struct.pack("<IQ", 9, 1))], [], 64), "array of the type 9"),
        (gguf([NAME, NAME], [], 64), "twice"),
        (gguf([], [WEIGHT, WEIGHT], 4096), "twice"),
        (gguf([], [tensor("w", (256,) * 5, 0, 0)], 64), "5 dimensions"),
        (gguf([], [tensor("w", (256,), 99, 0)], 64), "unknown type 99"),
        (gguf([], [tensor("w", (255,), 12, 0)], 1024), "rows of 255"),
        (gguf([], [tensor("w", (256, 2**50), 0, 0)], 1024), "does not lie within"),
        (gguf([], [tensor("w", (8,), 0, 7)], 1024), "does not lie within"),
        (gguf([entry("general.alignment", 4, struct.pack("<I", 0))], [], 64), "alignment"),
    ],
)
def test_a_damaged_or_lying_file_is_one_clear_error(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(PhiError, match=said) as caught:
        describe(path)
    assert caught.value.code == "PHI303"
    assert caught.value.hint


@pytest.mark.parametrize("length", range(4, len(SOUND), 13))
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(SOUND[:length])
    with pytest.raises(PhiError):
        describe(path)


# What the quantizing worker holds against a model


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the workers, imported as under a toolchain's interpreter."""
    monkeypatch.syspath_prepend(str(Path(phibuild.worker.__file__).parent))
    return lambda name: importlib.import_module(f"phibuild_gguf.{name}")


def a_header(tmp_path: Path, tensors: dict[str, tuple[tuple[int, ...], str]]) -> Any:
    placed, offset = [], 0
    for name, (shape, kind) in tensors.items():
        found = BY_NAME[kind.lower()]
        placed.append(tensor(name, shape, found.number, offset))
        size = shape[0] // found.block_size * found.block_bytes
        for length in shape[1:]:
            size *= length
        offset += size + -size % 32
    path = tmp_path / "header.gguf"
    path.write_bytes(gguf([], placed, offset))
    return read_header(path)


MODEL: dict[str, tuple[tuple[int, ...], str]] = {
    "token_embd.weight": ((256, 8), "f16"),
    "blk.0.attn_norm.weight": ((256,), "f32"),
    "blk.0.ffn_down.weight": ((576, 4), "f16"),
    "blk.1.ffn_down.weight": ((256, 4), "f16"),
    "output.weight": ((256, 8), "f16"),
}


def demanded(worker: Any, header: Any, **fields: Any) -> dict[str, str]:
    whole = fields_of(plan(recipe(quant="Q4_K_M", **fields), UNKNOWN_MODEL, {}))
    found = worker("expectations").demands(whole, header.tensors)
    return {name: kind.name for name, kind in found.items()}


def test_the_first_pattern_that_matches_decides(worker: Any, tmp_path: Path) -> None:
    header = a_header(tmp_path, MODEL)
    overrides = {r"blk\.1\.": "f16", "ffn_down": "q8_0"}
    assert demanded(worker, header, overrides=overrides) == {
        "blk.0.ffn_down.weight": "q8_0",
        "blk.1.ffn_down.weight": "f16",
    }


def test_output_and_embedding_types_come_before_patterns(worker: Any, tmp_path: Path) -> None:
    header = a_header(tmp_path, MODEL)
    fields = {"output_tensor_type": "q6_K", "token_embedding_type": "q8_0"}
    assert demanded(worker, header, overrides={"weight": "q4_0"}, **fields) == {
        "token_embd.weight": "q8_0",
        "blk.0.ffn_down.weight": "q4_0",
        "blk.1.ffn_down.weight": "q4_0",
        "output.weight": "q6_K",
    }


def test_the_output_type_of_a_tied_model_is_that_of_its_embedding(
    worker: Any, tmp_path: Path
) -> None:
    tied = {name: spec for name, spec in MODEL.items() if name != "output.weight"}
    found = demanded(worker, a_header(tmp_path, tied), output_tensor_type="q6_K")
    assert found == {"token_embd.weight": "q6_K"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"overrides": {"ffn_dwon": "q8_0"}}, "ffn_dwon has no effect"),
        ({"overrides": {"attn_norm": "q8_0"}}, "attn_norm has no effect"),
        ({"overrides": {"ffn": "q8_0", "ffn_down": "f16"}}, "ffn_down has no effect"),
        ({"overrides": {"ffn_down": "q6_K"}}, "do not fill the 576"),
        (
            {"overrides": {"^output": "q8_0"}, "output_tensor_type": "q6_K"},
            r"overrides: \^output has no effect",
        ),
        ({"overrides": {"^output": "q8_0"}, "leave_output_tensor": True}, "no effect"),
    ],
)
def test_an_override_without_effect_or_that_falls_back_fails(
    worker: Any, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(worker("expectations").WorkerError, match=said) as caught:
        demanded(worker, a_header(tmp_path, MODEL), **fields)
    assert caught.value.code == "PHI203"


def test_a_choice_of_another_type_than_demanded_fails(worker: Any) -> None:
    module = worker("expectations")
    chosen = {"w.weight": BY_NAME["q5_0"]}
    module.check_choice({"w.weight": BY_NAME["q5_0"]}, chosen)
    with pytest.raises(module.WorkerError, match="q5_0 where the recipe says q6_K"):
        module.check_choice({"w.weight": BY_NAME["q6_k"]}, chosen)


def test_an_imatrix_of_another_model_is_refused(worker: Any, tmp_path: Path) -> None:
    module = worker("expectations")
    model = a_header(tmp_path, MODEL).tensors
    weights = {"include_weights": [], "exclude_weights": []}
    rows = {f"blk.{i}.ffn_down.weight.in_sum2": ((256, 1), "f32") for i in range(2)}
    module.check_imatrix(weights, model, a_header(tmp_path, rows))
    other = a_header(tmp_path, {"blk.0.ffn_down.weight.in_sum2": ((256, 1), "f32")})
    with pytest.raises(module.WorkerError, match=r"nothing of 1 tensors, for instance blk\.1"):
        module.check_imatrix(weights, model, other)
    module.check_imatrix({**weights, "include_weights": ["blk.0"]}, model, other)
    with pytest.raises(module.WorkerError, match="ffn_dwon"):
        module.check_imatrix({**weights, "exclude_weights": ["ffn_dwon"]}, model, other)


def test_the_copy_of_an_imatrix_names_no_folder(worker: Any, tmp_path: Path) -> None:
    paths = struct.pack("<IQ", 8, 1) + text("/home/someone/texts/chats.txt")
    after = entry("imatrix.chunk_count", 4, struct.pack("<I", 7))
    kind = entry("general.type", 8, text("imatrix"))
    row = tensor("w.in_sum2", (8,), 0, 0)
    content = gguf([kind, entry("imatrix.datasets", 9, paths), after], [row], 0)
    (tmp_path / "old.gguf").write_bytes(content + bytes(range(32)))
    found = worker("neutral_imatrix").copy_neutral(tmp_path / "old.gguf", tmp_path / "new.gguf")
    assert found.value("imatrix.datasets").first == ("chats.txt",)
    assert found.value("imatrix.chunk_count") == 7
    copied = (tmp_path / "new.gguf").read_bytes()
    assert copied.endswith(bytes(range(32)))
    assert b"someone" not in copied


@pytest.mark.parametrize("content", [b"not a file of ggml", SOUND])
def test_a_file_that_is_no_imatrix_is_refused(worker: Any, tmp_path: Path, content: bytes) -> None:
    module = worker("neutral_imatrix")
    (tmp_path / "old.gguf").write_bytes(content)
    with pytest.raises(module.WorkerError) as caught:
        module.copy_neutral(tmp_path / "old.gguf", tmp_path / "new.gguf")
    assert caught.value.code == "PHI203"


def test_every_type_that_tensors_can_get_is_known_by_name() -> None:
    assert {kind.lower() for kind in (*TARGETS, *DEFAULT_TYPES.values())} <= set(BY_NAME)


def test_a_type_of_very_few_bits_without_importances_fails(worker: Any) -> None:
    module = worker("expectations")
    name = "blk.0.ffn_up.weight"
    for file_type, kind in (("IQ2_XS", "iq2_xs"), ("Q2_K_S", "q2_k")):
        chosen = {name: BY_NAME[kind], "token_embd.weight": BY_NAME[kind]}
        module.check_starved(file_type, chosen, {name})
        with pytest.raises(module.WorkerError, match="needs an imatrix"):
            module.check_starved(file_type, chosen, set())
    module.check_starved("Q2_K", {name: BY_NAME["q2_k"]}, set())
