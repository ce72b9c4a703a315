"""The tensors of a checkpoint are those that its config.json implies, or the first that is not is
named with its cause."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phibuild.model.errors import SourceError
from phibuild.source import lay_out, read_checkpoint
from phibuild.source.architecture import canonical_architecture
from phibuild.source.families import FAMILIES as SOURCES
from phibuild.source.families import dimensions, expected_tensors, with_defaults
from phibuild.source.layout import check_tensors
from phibuild.source.safetensors import Span
from phibuild.store import Index
from phibuild.testing._checkpoints.configs import config
from phibuild.testing._checkpoints.families import Size, tensor_specs
from phibuild.testing._checkpoints.shards import (
    WritableTensor,
    read_tensors,
    write_shard,
    write_shards,
)
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint

SIZE = Size(layers=2)
Edit = Callable[[list[WritableTensor]], Iterable[WritableTensor]]


@pytest.fixture
def memory(tmp_path: Path) -> Index:
    return Index(tmp_path / "index.sqlite")


def fields_of(family: str, **changes: Any) -> dict[str, Any]:
    published = config(FAMILIES[family], SIZE, "bf16", "published")
    return with_defaults(canonical_architecture(published | changes))


def headers_of(family: str) -> list[Span]:
    return [
        Span(spec.name, "BF16", spec.shape, 0, 0) for spec in tensor_specs(FAMILIES[family], SIZE)
    ]


def refusal(fields: dict[str, Any], headers: list[Span]) -> SourceError:
    with pytest.raises(SourceError) as caught:
        check_tensors(Path("m"), fields, headers)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tensors_of_every_family_are_those_that_its_config_implies(family: str) -> None:
    fields = fields_of(family)
    implied = expected_tensors(SOURCES[fields["model_type"]], dimensions(fields))
    written = tensor_specs(FAMILIES[family], SIZE)
    assert {(tensor.name, tensor.shape) for tensor in implied} == {
        (tensor.name, tensor.shape) for tensor in written
    }
    check_tensors(Path("m"), fields, headers_of(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_that_is_missing_renamed_or_misshaped_is_named(family: str) -> None:
    fields, headers = fields_of(family), headers_of(family)
    for position, header in enumerate(headers):
        others = headers[:position] + headers[position + 1 :]
        for changed in (
            others,
            [*others, header._replace(name=f"{header.name}2")],
            [*others, header._replace(shape=(*header.shape[:-1], header.shape[-1] + 1))],
            [*headers, header._replace(name=f"{header.name}2")],
        ):
            error = refusal(fields, changed)
            assert error.code == "PHI107"
            assert header.name in error.message, error


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "I8", "U8", "I32", "F64", "BOOL"])
def test_a_dtype_that_is_not_a_models_is_named(dtype: str) -> None:
    headers = headers_of("phi-3")
    headers[5] = headers[5]._replace(dtype=dtype)
    error = refusal(fields_of("phi-3"), headers)
    assert headers[5].name in error.message
    assert dtype in error.message


def renamed(headers: list[Span], old: str, new: str) -> list[Span]:
    return [header._replace(name=re.sub(old, new, header.name)) for header in headers]


def without(headers: list[Span], pattern: str) -> list[Span]:
    return [header for header in headers if not re.search(pattern, header.name)]


def extra(headers: list[Span], *names: str) -> list[Span]:
    return [*headers, *(Span(name, "BF16", (1,), 0, 0) for name in names)]


def llama(headers: list[Span]) -> list[Span]:
    split = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
    return [
        header._replace(name=header.name.replace(fused, part))
        for header in headers
        for fused, parts in split.items()
        if fused in header.name
        for part in parts
    ] + without(headers, "qkv_proj|gate_up_proj")


LAYER = "model.layers.1"
CAUSES: list[tuple[str, str, dict[str, Any], Callable[[list[Span]], list[Span]], str, str]] = [
    ("head", "phi-3", {}, lambda h: without(h, "lm_head"), "head has weights", "tie_word"),
    ("llama", "phi-3", {}, llama, "layout of Llama", "concatenate"),
    (
        "peft",
        "phi-3",
        {},
        lambda h: renamed(h, "^", "base_model.model."),
        "PEFT adapter",
        "merge_and_unload",
    ),
    (
        "lora",
        "phi-3",
        {},
        lambda h: extra(h, f"{LAYER}.self_attn.o_proj.lora_A.default.weight"),
        "PEFT adapter",
        "merge_and_unload",
    ),
    ("compiled", "phi-3", {}, lambda h: renamed(h, "^", "_orig_mod."), '"_orig_mod."', "prefix"),
    ("parallel", "phi-2", {}, lambda h: renamed(h, "^", "module."), '"module."', "prefix"),
    ("base", "phi-4-mini", {}, lambda h: renamed(h, "^model.", ""), "language head", "whole"),
    (
        "old phi",
        "phi-2",
        {},
        lambda h: renamed(h, r"^model\.layers\.(\d)\.self_attn", r"transformer.h.\1.mixer"),
        "Phi-1.5 and Phi-2",
        "current revision",
    ),
    (
        "older phi",
        "phi-2",
        {},
        lambda h: renamed(h, r"^model\.layers\.(\d)\.self_attn", r"layers.\1.mixer"),
        "Phi-1.5 and Phi-2",
        "current revision",
    ),
    ("more layers", "phi-3", {"num_hidden_layers": 3}, list, "is 3.* have 2 layers", "layers"),
    ("fewer layers", "phi-3", {"num_hidden_layers": 1}, list, "is 1.* have 2 layers", "layers"),
    ("first layer", "phi-3", {}, lambda h: without(h, r"layers\.0\."), "without layer 0", "fetch"),
    ("experts", "phi-3.5-moe", {"num_local_experts": 8}, list, "is 8.*have 4 experts", "experts"),
    ("rows", "phi-3", {"vocab_size": 1064}, list, "is 1064.*has 1056 rows", "vocab_size 1056"),
    ("bias", "phi-3.5-moe", {"attention_bias": False}, list, "with biases", "attention_bias"),
    ("no bias", "phi-2", {}, lambda h: without(h, r"fc1\.bias"), "without biases", "_bias"),
    ("inner", "phi-3", {"intermediate_size": 1024}, list, "shapes", "intermediate_size"),
    (
        "transposed",
        "phi-3",
        {},
        lambda h: [t._replace(shape=t.shape[::-1]) if "down" in t.name else t for t in h],
        "transposed",
        "output, input",
    ),
    (
        "gptq",
        "phi-3",
        {},
        lambda h: renamed(h, r"o_proj\.weight", "o_proj.qweight"),
        "quantized",
        "unquantized",
    ),
    (
        "scales",
        "phi-3",
        {},
        lambda h: extra(h, f"{LAYER}.self_attn.o_proj.weight_scale"),
        "quantized",
        "unquantized",
    ),
    ("none", "phi-3", {}, lambda h: [], "without any tensor", "save"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "changes", "edit", "cause", "cure"),
    [cause[1:] for cause in CAUSES],
    ids=[cause[0] for cause in CAUSES],
)
def test_the_likeliest_cause_and_its_cure_are_named(
    family: str,
    changes: dict[str, Any],
    edit: Callable[[list[Span]], list[Span]],
    cause: str,
    cure: str,
) -> None:
    error = refusal(fields_of(family, **changes), edit(headers_of(family)))
    assert error.code == "PHI107"
    assert re.search(cause, error.message), error
    assert re.search(cure, error.hint), error


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 10**9),
        ("vocab_size", 2**40),
        ("hidden_size", 0),
        ("hidden_size", "3072"),
        ("num_attention_heads", True),
        ("num_key_value_heads", 3),
        ("intermediate_size", -1),
    ],
)
def test_a_size_that_cannot_be_is_refused_by_its_field(field: str, value: Any) -> None:
    error = refusal(fields_of("phi-3", **{field: value}), headers_of("phi-3"))
    assert error.code == "PHI103"
    assert field in error.message


def test_a_config_that_implies_millions_of_tensors_is_refused_at_once() -> None:
    fields = fields_of("phi-3.5-moe", num_hidden_layers=4096, num_local_experts=4096)
    assert refusal(fields, headers_of("phi-3.5-moe")).code == "PHI107"


def test_a_model_of_another_type_is_left_to_its_backend() -> None:
    check_tensors(Path("m"), {"model_type": "llama"}, [Span("a", "U8", (1,), 0, 1)])


def edited(folder: Path, edit: Edit) -> Path:
    write_shards(folder, list(edit(read_tensors(folder))), 1)
    return folder


def copied(tensor: WritableTensor, name: str) -> WritableTensor:
    return replace(tensor, name=name)


def tables(tensors: list[WritableTensor]) -> Iterable[WritableTensor]:
    yield WritableTensor(
        "model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (8,), lambda: [bytes(range(32))]
    )
    yield from tensors


def tied_head(tensors: list[WritableTensor]) -> Iterable[WritableTensor]:
    yield from tensors
    yield copied(next(tensor for tensor in tensors if "embed" in tensor.name), "lm_head.weight")


@pytest.mark.parametrize("edit", [tables, tied_head])
@pytest.mark.parametrize("shards", [1, 3])
def test_leftovers_are_not_part_of_the_model_and_no_worker_sees_them(
    tmp_path: Path, memory: Index, edit: Edit, shards: int
) -> None:
    plain = write_checkpoint(tmp_path / "plain", FAMILIES["phi-4-mini"], layers=2)
    folder = write_checkpoint(tmp_path / "m", FAMILIES["phi-4-mini"], layers=2)
    write_shards(folder, list(edit(read_tensors(folder))), shards)
    checkpoint = read_checkpoint(folder, memory)
    assert checkpoint.slices == read_checkpoint(plain, memory).slices
    lay_out(checkpoint, ["weights"], tmp_path / "view")
    seen = {tensor.name: b"".join(tensor.chunks()) for tensor in read_tensors(tmp_path / "view")}
    assert seen == {tensor.name: b"".join(tensor.chunks()) for tensor in read_tensors(plain)}
    if shards > 1:
        index = json.loads((tmp_path / "view" / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == seen.keys()


def test_a_shard_of_leftovers_alone_is_not_shown(tmp_path: Path, memory: Index) -> None:
    folder = write_checkpoint(tmp_path / "m", FAMILIES["phi-3"], layers=2)
    (folder / "model.safetensors").rename(folder / "model-00002-of-00002.safetensors")
    write_shard(folder / "model-00001-of-00002.safetensors", list(tables([])))
    lay_out(read_checkpoint(folder, memory), ["weights"], tmp_path / "view")
    assert [path.name for path in (tmp_path / "view").iterdir()] == ["model.safetensors"]


def test_a_tied_head_of_other_values_is_refused(tmp_path: Path, memory: Index) -> None:
    def other_head(tensors: list[WritableTensor]) -> Iterable[WritableTensor]:
        embedding = next(tensor for tensor in tensors if "embed" in tensor.name)
        turned = b"".join(embedding.chunks())
        yield from tensors
        yield replace(embedding, name="lm_head.weight", chunks=lambda: [turned[2:], turned[:2]])

    folder = edited(write_checkpoint(tmp_path / "m", FAMILIES["phi-4-mini"], layers=1), other_head)
    with pytest.raises(SourceError, match=r"lm_head\.weight is not") as caught:
        read_checkpoint(folder, memory)
    assert caught.value.code == "PHI107"
    assert "tie_word_embeddings" in caught.value.hint
