"""The canonical config.json: in the published, older spelling, without cosmetic fields.

transformers 5 writes `rope_parameters` and `dtype`; the published checkpoints have `rope_theta`,
`rope_scaling` and `torch_dtype`, which is the spelling that every backend understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phibuild.model.errors import SourceError

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Fields of config.json that belong to the generation slice."""

_COSMETIC = frozenset(
    {
        "_name_or_path",
        "_attn_implementation",
        "_commit_hash",
        "attn_implementation",
        "auto_map",
        "finetuning_task",
        "id2label",
        "label2id",
        "output_attentions",
        "output_hidden_states",
        "problem_type",
        "return_dict",
        "task_specific_params",
        "transformers_version",
        "use_cache",
    }
)
_ORIGINAL = "original_max_position_embeddings"
_CLASS_NAMES = {"PhimoeForCausalLM": "PhiMoEForCausalLM"}
_ROPE_TYPES = {"su": "longrope"}


def canonical_architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of config.json that shape the computation, in the published spelling, sorted.

    SourceError PHI103 for a field that appears twice, with different values.
    """
    fields = {
        name: value
        for name, value in config.items()
        if name not in _COSMETIC and name not in TOKEN_IDS and value is not None
    }
    if config.get("num_key_value_heads", 0) is None and "num_attention_heads" in fields:
        # null means one key head for each head, where absence may mean another number.
        fields["num_key_value_heads"] = fields["num_attention_heads"]
    if "dtype" in fields:
        fields["torch_dtype"] = fields.pop("dtype")
    if "architectures" in fields:
        fields["architectures"] = [_CLASS_NAMES.get(name, name) for name in fields["architectures"]]
    rope = _older_rope(fields.pop("rope_parameters", {}), fields.pop("rope_scaling", {}))
    for name in rope.keys() & fields.keys():
        if fields[name] != rope[name]:
            raise SourceError(
                f"config.json says {name} twice: {fields[name]} and {rope[name]}",
                hint="remove one of them: toolkits differ in which one they read",
                code="PHI103",
            )
    fields |= rope
    if fields.get("model_type") == "phimoe" and "rope_scaling" in fields:
        # Published PhiMoE has the field twice, and its code reads the inner one.
        fields["rope_scaling"] |= {name: fields[name] for name in (_ORIGINAL,) if name in fields}
    if fields.get("partial_rotary_factor") == 1.0 and fields.get("model_type") != "phi":
        del fields["partial_rotary_factor"]  # the absent field means 1.0; of phi it means 0.5
    return dict(sorted(fields.items()))


def _older_rope(parameters: Mapping[str, Any], scaling: Mapping[str, Any]) -> dict[str, Any]:
    top: dict[str, Any] = {}
    if not isinstance(parameters, Mapping) or not isinstance(scaling, Mapping):
        raise config_refusal("rope_scaling or rope_parameters is not an object with fields")
    inner = {k: value for k, value in {**scaling, **parameters}.items() if value is not None}
    for name in ("rope_theta", "partial_rotary_factor", _ORIGINAL):
        if name in inner:
            top[name] = inner.pop(name)
    kind = inner.pop("rope_type", None) or inner.pop("type", None)
    inner.pop("type", None)
    if kind is not None and not isinstance(kind, str):
        raise config_refusal(f"the type of rope_scaling is {kind!r}, which is not a string")
    if kind not in (None, "default"):
        top["rope_scaling"] = dict(sorted({**inner, "type": _ROPE_TYPES.get(kind, kind)}.items()))
    return top


def config_refusal(problem: str) -> SourceError:
    """PHI103 for fields of config.json that are not usable."""
    return SourceError(
        f"config.json: {problem}",
        hint="use config.json of the published checkpoint",
        code="PHI103",
    )
