"""GGUF metadata: values as bytes, settings, templates, sizes and names."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from phibuild_gguf.actions import metadata_action
from phibuild_gguf.format import values
from phibuild_gguf.format.header import Array, BadHeader, GgufHeader, read_header
from phibuild_gguf.format.values import head, read_values, string, strings
from phibuild_gguf.metadata.size_label import size_label
from phibuild_gguf.recipe import GgufRecipe, ImatrixRecipe

import phibuild.worker
from phibuild.api import Action, ModelFacts, Tensor
from phibuild.testing._checkpoints.families import (
    FAMILIES,
    Family,
    Size,
    rope_factors,
    tensor_specs,
)

Finish = Callable[..., GgufHeader]

# Values


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (values.uint32(4294967295), 4294967295),
        (values.int32(-1), -1),
        (values.float32(0.5), 0.5),
        (values.boolean(True), True),
        (string("größer\n"), "größer\n"),
        (string(""), ""),
        (strings(["a", "ß", ""]), Array(3, ("a", "ß", ""))),
    ],
)
def test_a_value_is_read_as_it_was_written(tmp_path: Path, encoded: bytes, value: object) -> None:
    path = tmp_path / "one.gguf"
    path.write_bytes(head({"before": string("x"), "key": encoded, "after": string("y")}))
    header = read_header(path)
    assert [(pair.key, pair.value) for pair in header.key_values] == [
        ("before", "x"),
        ("key", value),
        ("after", "y"),
    ]
    assert header.end == path.stat().st_size
    assert list(read_values(path, header).items())[1] == ("key", encoded)


def test_the_bytes_of_a_head_are_those_of_the_specification() -> None:
    assert head({"ab": values.boolean(True)}, tensors=2) == (
        b"GGUF\x03\x00\x00\x00"
        b"\x02\x00\x00\x00\x00\x00\x00\x00"
        b"\x01\x00\x00\x00\x00\x00\x00\x00"
        b"\x02\x00\x00\x00\x00\x00\x00\x00ab"
        b"\x07\x00\x00\x00\x01"
    )


def test_values_of_every_type_are_copied_without_interpreting_them(tmp_path: Path) -> None:
    scalars = {0: "B", 1: "b", 2: "H", 3: "h", 10: "Q", 11: "q", 12: "d"}
    values = {f"k{kind}": struct.pack(f"<I{code}", kind, 7) for kind, code in scalars.items()}
    values["array"] = struct.pack("<IIQ10f", 9, 6, 10, *range(10))
    values["texts"] = strings([str(number) for number in range(20)])
    path = tmp_path / "one.gguf"
    path.write_bytes(head(values))
    copied = read_values(path)
    assert copied == values
    assert head(copied) == path.read_bytes()


def test_texts_of_a_list_are_read_one_by_one() -> None:
    texts = values.Strings(strings(["a", "größer", "", "b"]))
    assert texts.count == 4
    assert texts.at({1, 3}) == {1: "größer", 3: "b"}
    assert texts.at(()) == {}
    assert ["größer" in texts, "" in texts, "größ" in texts] == [True, True, False]


def test_a_head_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.gguf"
    whole = head({"key": string("text"), "texts": strings([str(number) for number in range(20)])})
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadHeader):
            read_header(path)


# What is added to the vocabulary's metadata

BYTE_LEVEL = {
    "general.architecture": string("phi3"),
    "general.type": string("model"),
    "general.name": string("Phi"),
    "phi3.block_count": values.uint32(2),
    "tokenizer.ggml.add_bos_token": values.boolean(False),  # where phi2 has it
    "tokenizer.ggml.model": string("gpt2"),
    "tokenizer.ggml.tokens": strings(["a", "b", "ab"]),
    "tokenizer.ggml.token_type": struct.pack("<IIQ3i", 9, 5, 3, 1, 1, 1),
    "tokenizer.ggml.merges": strings(["a b"]),
    "tokenizer.ggml.bos_token_id": values.uint32(1),
    "tokenizer.ggml.add_eos_token": values.boolean(False),
    "tokenizer.ggml.normalizer.lowercase": values.boolean(True),
}
SENTENCEPIECE = {
    key: string("llama") if key == "tokenizer.ggml.model" else value
    for key, value in BYTE_LEVEL.items()
    if key != "tokenizer.ggml.merges"
}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The worker, as a module."""
    monkeypatch.syspath_prepend(str(Path(phibuild.worker.__file__).parent))
    return importlib.import_module("phibuild_gguf.metadata.worker_metadata")


@pytest.fixture
def finish(module: Any, tmp_path: Path) -> Finish:
    """Run the worker on files of a checkpoint, and return the header of the result."""

    def run(
        vocabulary: dict[str, bytes] = BYTE_LEVEL,
        *,
        name: str | None = None,
        size: str | None = "1.2M",
        jinja: str | None = None,
        **documents: Any,
    ) -> GgufHeader:
        model = tmp_path / "model"
        model.mkdir()
        for stem, content in documents.items():
            (model / f"{stem}.json").write_text(json.dumps(content))
        if jinja is not None:
            (model / "chat_template.jinja").write_text(jinja)
        (tmp_path / "vocabulary.gguf").write_bytes(head(vocabulary))
        job = module.phiworker.Job(
            name="gguf.metadata",
            inputs={"model": model, "vocabulary": tmp_path / "vocabulary.gguf"},
            output=tmp_path / "out.gguf",
            recipe={"model_name": name, "size_label": size},
            tools={},
            scratch=tmp_path,
            threads=1,
            identity="",
            tensors=(),
        )
        module.main(job)
        return read_header(job.output)

    return run


def added(header: GgufHeader, vocabulary: dict[str, bytes] = BYTE_LEVEL) -> dict[str, Any]:
    """The values that the vocabulary lacks."""
    return {pair.key: pair.value for pair in header.key_values if pair.key not in vocabulary}


def keys(header: GgufHeader) -> list[str]:
    return [pair.key for pair in header.key_values]


def test_what_is_added_lies_where_the_converter_puts_it(finish: Finish) -> None:
    header = finish(
        jinja="{{ a }}",
        config={"eos_token_id": 2, "bos_token_id": 0},
        generation_config={"temperature": 0.5, "top_k": 40},
    )
    assert keys(header) == [
        "general.architecture",
        "general.type",
        "general.sampling.top_k",
        "general.sampling.temp",
        "general.name",
        "general.size_label",
        "phi3.block_count",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.add_eos_token",
        "tokenizer.chat_template",
        "tokenizer.ggml.normalizer.lowercase",
    ]
    assert header.value("tokenizer.ggml.bos_token_id") == 1  # the tokenizer's takes precedence
    assert header.value("tokenizer.ggml.eos_token_id") == 2
    assert header.value("tokenizer.chat_template") == "{{ a }}"


def test_nothing_is_added_that_the_checkpoint_does_not_have(finish: Finish) -> None:
    assert added(finish(size=None)) == {}


def test_sampling_settings(finish: Finish) -> None:
    settings = {
        "do_sample": True,
        "temperature": 1,
        "top_p": None,
        "top_k": 50,
        "repetition_penalty": 1.25,
        "min_p": 0.5,
    }
    assert added(finish(size=None, generation_config=settings)) == {
        "general.sampling.top_k": 50,
        "general.sampling.min_p": 0.5,
        "general.sampling.temp": 1.0,
        "general.sampling.penalty_repeat": 1.25,
    }


@pytest.mark.parametrize("settings", [{"top_k": "many"}, {"temperature": []}, {"top_k": 1 << 31}])
def test_a_setting_of_another_kind_is_refused(
    module: Any, finish: Finish, settings: dict[str, Any]
) -> None:
    with pytest.raises(module.phiworker.WorkerError, match=next(iter(settings))) as caught:
        finish(generation_config=settings)
    assert caught.value.code == "PHI103"


def test_ids_that_are_no_rows_of_a_sentencepiece_vocabulary_are_left_out(finish: Finish) -> None:
    config = {"eos_token_id": 3, "pad_token_id": 2, "unk_token_id": [0], "sep_token_id": -1}
    header = finish(SENTENCEPIECE, size=None, config=config)
    assert added(header, SENTENCEPIECE) == {"tokenizer.ggml.padding_token_id": 2}


def test_llama_cpp_stops_at_every_end_of_the_settings(finish: Finish) -> None:
    header = finish(generation_config={"eos_token_id": [1, 2]}, config={"eos_token_id": 2})
    assert keys(header)[-4:-1] == [
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eom_token_id",
        "tokenizer.ggml.add_eos_token",
    ]
    assert header.value("tokenizer.ggml.eos_token_id") == 2  # as the converter writes it
    assert header.value("tokenizer.ggml.eom_token_id") == 1


def test_templates_whose_names_become_one_are_refused(module: Any, finish: Finish) -> None:
    named = [{"name": name, "template": "{{ a }}"} for name in ("tool use", "tool_use")]
    with pytest.raises(module.phiworker.WorkerError, match="tool_use") as caught:
        finish(tokenizer_config={"chat_template": named})
    assert caught.value.code == "PHI103"


def test_named_templates(finish: Finish) -> None:
    named = [
        {"name": "tool use", "template": "{{ t }}"},
        {"name": "default", "template": "{{ d }}"},
        {"name": "rag", "template": "{{ r }}"},
        {"name": "broken"},
    ]
    header = finish(size=None, tokenizer_config={"chat_template": named})
    assert list(added(header).items()) == [
        ("tokenizer.chat_template.tool_use", "{{ t }}"),
        ("tokenizer.chat_template.rag", "{{ r }}"),
        ("tokenizer.chat_templates", Array(2, ("tool_use", "rag"))),
        ("tokenizer.chat_template", "{{ d }}"),
    ]


def test_an_empty_template_is_none(finish: Finish) -> None:
    assert added(finish(size=None, jinja="")) == {}


@pytest.mark.parametrize(
    ("plain", "model_name", "name"),
    [
        ("Phi", None, "Phi"),
        ("Phi-3", None, "Phi-3"),
        ("Phi", "Ours", "Ours"),
        ("Phi-3", "our PHI3", "our PHI3"),
        ("Phi", "Phi-3 of ours", None),
        ("Phi-3", "Ours", None),
    ],
)
def test_a_name_with_which_tokens_are_read_differently_is_refused(
    module: Any, finish: Finish, plain: str, model_name: str | None, name: str | None
) -> None:
    vocabulary = BYTE_LEVEL | {"general.name": string(plain)}
    if name is not None:
        assert finish(vocabulary, name=model_name).value("general.name") == name
        return
    with pytest.raises(module.phiworker.WorkerError, match="blanks") as caught:
        finish(vocabulary, name=model_name)
    assert caught.value.code == "PHI203"


# Sizes


def facts_of(family: Family, size: Size) -> ModelFacts:
    rope = {"rope_scaling": rope_factors(family)} if family.longrope else {}
    tensors = (Tensor(spec.name, "BF16", spec.shape, 0) for spec in tensor_specs(family, size))
    return ModelFacts(rope, tuple(tensors))


@pytest.mark.parametrize(
    ("family", "size", "label"),
    [
        # As the converter wrote them: tests/backends/test_gguf_metadata.py compares more.
        ("phi-2", Size(layers=1), "1.3M"),
        ("phi-3", Size(layers=1), "1.2M"),
        ("phi-4-mini", Size(layers=1), "861K"),
        ("phi-3.5-moe", Size(layers=1), "4x938K"),
        ("phi-3", Size(2048, 32, 32064), "1.5B"),
    ],
)
def test_the_size_label_counts_as_the_converter_does(family: str, size: Size, label: str) -> None:
    assert size_label(facts_of(FAMILIES[family], size)) == label


@pytest.mark.parametrize(
    ("parameters", "label"),
    [(1_000_000, "1000K"), (1_000_001, "1.0M"), (9_400_000, "9.4M"), (9_500_001, "10M")],
)
def test_sizes_are_rounded_to_two_digits(parameters: int, label: str) -> None:
    assert size_label(ModelFacts({}, (Tensor("w", "BF16", (parameters,), 0),))) == label


def test_an_unknown_model_has_no_size() -> None:
    assert size_label(ModelFacts({}, ())) is None


# The actions


def test_recipes_share_their_vocabulary_and_types_their_metadata() -> None:
    model = facts_of(FAMILIES["phi-3"], Size())

    def action(recipe: GgufRecipe | ImatrixRecipe) -> Action:
        step = metadata_action(recipe, model)
        assert isinstance(step, Action)
        return step

    unnamed = action(GgufRecipe(quant="Q4_K_M"))
    assert action(GgufRecipe(quant="Q8_0")) == unnamed == action(ImatrixRecipe())
    named = action(GgufRecipe(quant="Q8_0", model_name="Phi-3 of ours"))
    assert named != unnamed
    assert named.inputs == unnamed.inputs
    assert action(GgufRecipe(quant="Q8_0", pre_tokenizer="gpt-4o")).inputs != unnamed.inputs


def test_the_action_that_adds_the_template_needs_no_toolchain() -> None:
    step = metadata_action(GgufRecipe(quant="Q4_K_M"), ModelFacts({}, ()))
    assert (step.toolchain, step.tools) == ("host", ())
    ((_, vocabulary),) = step.inputs
    assert isinstance(vocabulary, Action)
    assert {"chat_template", "generation", "weights"}.isdisjoint(vocabulary.slices)
    assert {"tokenizer", "weights"}.isdisjoint(step.slices)
