"""Explains why the tensors of a checkpoint differ from those that its config.json implies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from phibuild.model.errors import SourceError
from phibuild.source.families import EMBEDDING, HEAD, ROWS, Fields

Shape = tuple[int, ...]
Cause = tuple[str, str]
"""The problem, and what to do about it."""

_SHOWN = 3
_LAYER = re.compile(r"model\.layers\.(\d+)\.")
_EXPERT = re.compile(r"\.experts\.(\d+)\.")
_QUANTIZED = re.compile(
    r"(.*\.)?(qweight|qzeros|g_idx|scales|zeros|SCB|weight_format|absmax|quant_map|nested_\w+"
    r"|(input|output|k|v|q)_scale|weight_(scale\w*|packed|shape|zero_point|g_idx)|quant_state\..*"
    r"|\w+_(blocks|scales|packed))"
)
_ADAPTER = re.compile(
    r"base_model\.model\.|.*\.(base_layer|lora_\w+|modules_to_save|original_module)\."
)
_OLD_PHI = re.compile(r"transformer\.(h|embd|wte)\.|layers\.\d+\.(wte|mixer|ln)\.")
_SPLIT = ("self_attn.q_proj.", "self_attn.k_proj.", "mlp.gate_proj.", "mlp.up_proj.")
_FUSED = ("self_attn.qkv_proj.", "self_attn.query_key_value.", "mlp.gate_up_proj.")


class Differences(NamedTuple):
    """How stored tensors differ from the expected ones: names, and for mis-shaped tensors the
    expected and the stored shape. `fields` are those of config.json."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: Mapping[str, tuple[Shape, Shape]]
    stored: tuple[str, ...]
    fields: Fields

    def __str__(self) -> str:
        shapes = [
            f"{name} is {list(there)} and should be {list(right)}"
            for name, (right, there) in self.shapes.items()
        ]
        parts = (("missing", self.missing), ("unexpected", self.unexpected), ("shapes", shapes))
        return "; ".join(f"{word}: {some_of(names)}" for word, names in parts if names)


def refusal(
    folder: Path,
    fields: Fields,
    *,
    stored: Mapping[str, Shape],
    expected: Mapping[str, Shape],
    optional: Mapping[str, Shape],
) -> SourceError:
    """PHI107 for tensors that differ from the expected ones; `optional` ones may be absent."""
    differences = Differences(
        missing=tuple(name for name in expected if name not in stored),
        unexpected=tuple(sorted(stored.keys() - expected.keys() - optional.keys())),
        shapes={
            name: (shape, stored[name])
            for name, shape in {**expected, **optional}.items()
            if name in stored and stored[name] != shape
        },
        stored=tuple(stored),
        fields=fields,
    )
    cause, cure = likeliest_cause(differences)
    return SourceError(f"{folder}: {cause}\n  {differences}", hint=cure, code="PHI107")


def some_of(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def likeliest_cause(differences: Differences) -> Cause:
    """The first explanation that fits."""
    for explain in (
        _quantized,
        _adapter,
        _old_phi,
        _other_prefix,
        _other_layout,
        _layers,
        _experts,
        _head,
        _rows,
        _biases,
        _sizes,
    ):
        cause = explain(differences)
        if cause is not None:
            return cause
    return (
        "the tensors are not those that config.json implies",
        "use config.json and weights of the same checkpoint",
    )


def _quantized(differences: Differences) -> Cause | None:
    if not any(_QUANTIZED.fullmatch(name) for name in differences.unexpected):
        return None
    return (
        "the checkpoint is quantized already: scales or packed weights lie beside its weights",
        "use the unquantized checkpoint",
    )


def _adapter(differences: Differences) -> Cause | None:
    if not any(_ADAPTER.match(name) for name in differences.unexpected):
        return None
    return (
        "the weights were saved with a PEFT adapter around them",
        "merge the adapter and save the model again: model.merge_and_unload()"
        ".save_pretrained(folder)",
    )


def _old_phi(differences: Differences) -> Cause | None:
    if not any(_OLD_PHI.match(name) for name in differences.unexpected):
        return None
    return (
        "the names are those of Phi-1.5 and Phi-2 before transformers knew them",
        "use the current revision of the published checkpoint",
    )


def _other_prefix(differences: Differences) -> Cause | None:
    """Names that are right but for their beginning."""
    missing, unexpected = set(differences.missing), set(differences.unexpected)
    for name in differences.missing:
        if name.removeprefix("model.") in unexpected and name.startswith("model."):
            return (
                'the names lack the prefix "model."; this is a model that was saved without its'
                " language head",
                "save it as a whole: AutoModelForCausalLM.from_pretrained(folder)"
                ".save_pretrained(folder)",
            )
        longer = next(
            (other for other in differences.unexpected if other.endswith(f".{name}")), None
        )
        if longer is None:
            continue
        prefix = longer.removesuffix(name)
        if sum(f"{prefix}{other}" in unexpected for other in missing) * 2 > len(missing):
            return (
                f'the names begin with "{prefix}"; a wrapper around the model was saved'
                " (torch.compile, DataParallel, a trainer)",
                "save the model inside it, with model.save_pretrained(folder), or take the prefix"
                " off the names",
            )
    return None


def _other_layout(differences: Differences) -> Cause | None:
    def has(parts: Iterable[str], names: Iterable[str]) -> bool:
        return any(part in name for name in names for part in parts)

    if has(_SPLIT, differences.unexpected) and has(_FUSED, differences.missing):
        return (
            "the weights have the layout of Llama (q_proj, k_proj, v_proj; gate_proj, up_proj),"
            f" and {differences.fields['model_type']} has qkv_proj and gate_up_proj",
            "concatenate q, k, v and gate, up along their rows, or use the checkpoint in its"
            " published layout",
        )
    if has(_FUSED, differences.unexpected) and has(_SPLIT, differences.missing):
        return (
            f"the weights have fused projections, and {differences.fields['model_type']} has"
            " q_proj, k_proj and v_proj",
            "is model_type in config.json the one of these weights?",
        )
    return None


def _layers(differences: Differences) -> Cause | None:
    stored = _numbers(_LAYER, differences.stored)
    said = int(differences.fields["num_hidden_layers"])
    if not stored:
        return None
    if max(stored) >= said:
        count = max(stored) + 1
        return (
            f"config.json says num_hidden_layers is {said}, and the weights have {count} layers",
            f"write num_hidden_layers {count} into config.json if all layers belong to the model",
        )
    lost = sorted(set(range(min(said, len(stored) + 4096))) - stored)
    if lost:
        return (
            f"config.json says num_hidden_layers is {said}, and the weights have {len(stored)}"
            f" layers: without layer {some_of([str(number) for number in lost])}",
            "fetch or save the checkpoint again, a shard may be missing; or correct"
            " num_hidden_layers",
        )
    return None


def _experts(differences: Differences) -> Cause | None:
    stored = _numbers(_EXPERT, differences.stored)
    said = differences.fields.get("num_local_experts")
    if not stored or said is None or len(stored) == said:
        return None
    return (
        f"config.json says num_local_experts is {said}, and the weights have {len(stored)} experts",
        "fetch or save the checkpoint again, or correct num_local_experts",
    )


def _head(differences: Differences) -> Cause | None:
    if differences.missing != (HEAD,):
        return None
    return (
        f"{HEAD} is missing, and config.json says that the head has weights of its own"
        " (tie_word_embeddings is false)",
        "save the model again with its head; if the head really is the embedding, write"
        ' "tie_word_embeddings": true into config.json',
    )


def _rows(differences: Differences) -> Cause | None:
    if EMBEDDING not in differences.shapes and HEAD not in differences.shapes:
        return None
    right, there = differences.shapes.get(EMBEDDING) or differences.shapes[HEAD]
    if len(there) != 2 or there[1] != right[1] or there[0] == right[0]:
        return None
    return (
        f"config.json says {ROWS} is {right[0]}, and the embedding or the head has {there[0]} rows",
        f"write {ROWS} {there[0]} into config.json if the weights were resized on purpose",
    )


def _biases(differences: Differences) -> Cause | None:
    names = (*differences.missing, *differences.unexpected)
    if not names or not all(name.endswith(".bias") for name in names):
        return None
    there = "without biases that" if differences.missing else "with biases that none of"
    return (
        f"the weights come {there} config.json implies",
        "use config.json and weights of the same checkpoint; fields such as attention_bias"
        " and lm_head_bias say which biases there are",
    )


def _sizes(differences: Differences) -> Cause | None:
    if differences.missing or differences.unexpected or not differences.shapes:
        return None
    if all(right == tuple(reversed(there)) for right, there in differences.shapes.values()):
        return (
            "matrices are transposed",
            "save them as (output, input), as torch.nn.Linear has them",
        )
    return (
        "the shapes of the tensors are not those that config.json implies",
        "compare hidden_size, intermediate_size, num_attention_heads, num_key_value_heads and"
        " head_dim with the published config.json",
    )


def _numbers(pattern: re.Pattern[str], names: Iterable[str]) -> set[int]:
    return {int(match[1]) for name in names if (match := pattern.search(name))}
