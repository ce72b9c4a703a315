"""A family's config.json in both spellings: as published, and as transformers 5 saves it."""

from __future__ import annotations

from typing import Any

from phibuild.testing._checkpoints.families import (
    LONG_CONTEXT,
    ORIGINAL_CONTEXT,
    Dtype,
    Family,
    Size,
    rope_factors,
)
from phibuild.testing._checkpoints.tokenizer_files import Spelling
from phibuild.testing._checkpoints.tokenizers import Tokenizer, make_tokenizer

TORCH_DTYPE = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}


def config(family: Family, size: Size, dtype: Dtype, spelling: Spelling) -> dict[str, Any]:
    """The fields of config.json."""
    published = published_config(family, size, dtype)
    return published if spelling == "published" else transformers5_config(published)


def published_config(family: Family, size: Size, dtype: Dtype) -> dict[str, Any]:
    """The spelling of the checkpoints on the hub."""
    tokenizer = make_tokenizer(family.tokenizer, size.vocab)
    fields: dict[str, Any] = {
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.id_of(tokenizer.bos),
        "eos_token_id": tokenizer.id_of(tokenizer.eos),
        "hidden_size": size.hidden,
        "initializer_range": 0.02,
        "intermediate_size": size.hidden * family.expansion,
        "model_type": family.architecture,
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "num_key_value_heads": size.heads // family.queries_per_key,
        "rope_scaling": {**rope_factors(family), "type": "longrope"} if family.longrope else None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": family.tied,
        "torch_dtype": TORCH_DTYPE[dtype],
        "transformers_version": "4.45.0",
        "use_cache": True,
        "vocab_size": size.vocab,
    }
    match family.architecture:
        case "phi":
            fields |= phi_fields(family)
        case "phi3":
            fields |= phi3_fields(family, tokenizer)
        case "phimoe":
            fields |= phimoe_fields(family)
            # The scale of long and short contexts, which transformers and MLX read from here.
            fields["rope_scaling"] |= {
                "long_mscale": 1.243163121016122,
                "original_max_position_embeddings": ORIGINAL_CONTEXT,
                "short_mscale": 1.243163121016122,
            }
    return dict(sorted(fields.items()))


def phi_fields(family: Family) -> dict[str, Any]:
    return {
        "architectures": ["PhiForCausalLM"],
        "embd_pdrop": 0.0,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048,
        "partial_rotary_factor": family.rotary,
        "qk_layernorm": False,
        "resid_pdrop": 0.1,
    }


def phi3_fields(family: Family, tokenizer: Tokenizer) -> dict[str, Any]:
    fields = {
        "architectures": ["Phi3ForCausalLM"],
        "attention_bias": False,
        "auto_map": auto_map("phi3", "Phi3Config", "Phi3ForCausalLM"),
        "embd_pdrop": 0.0,
        "hidden_act": "silu",
        "max_position_embeddings": LONG_CONTEXT if family.longrope else ORIGINAL_CONTEXT,
        "original_max_position_embeddings": ORIGINAL_CONTEXT,
        "pad_token_id": tokenizer.id_of(tokenizer.pad),
        "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-05,
        "sliding_window": 2 * LONG_CONTEXT if family.longrope else 2047,
    }
    if family.rotary != 1.0:
        fields |= {
            "full_attn_mod": 1,
            "interpolate_factor": 1,
            "lm_head_bias": False,
            "mlp_bias": False,
            "partial_rotary_factor": family.rotary,
        }
    return fields


def phimoe_fields(family: Family) -> dict[str, Any]:
    return {
        "architectures": ["PhiMoEForCausalLM"],
        "attention_bias": True,
        "auto_map": auto_map("phimoe", "PhiMoEConfig", "PhiMoEForCausalLM"),
        "hidden_act": "silu",
        "hidden_dropout": 0.0,
        "input_jitter_noise": 0.01,
        "lm_head_bias": True,
        "max_position_embeddings": LONG_CONTEXT,
        "num_experts_per_tok": 2,
        "num_local_experts": family.experts,
        "original_max_position_embeddings": ORIGINAL_CONTEXT,
        "output_router_logits": False,
        "rms_norm_eps": 1e-05,
        "router_aux_loss_coef": 0.0,
        "router_jitter_noise": 0.01,
        "sliding_window": LONG_CONTEXT,
    }


def auto_map(module: str, config: str, model: str) -> dict[str, str]:
    return {
        "AutoConfig": f"configuration_{module}.{config}",
        "AutoModelForCausalLM": f"modeling_{module}.{model}",
    }


def transformers5_config(published: dict[str, Any]) -> dict[str, Any]:
    """The same model as transformers 5.5.4 saves one that it made itself."""
    fields = dict(published)
    fields.pop("auto_map", None)
    rope = dict(fields.pop("rope_scaling") or {})
    rope["rope_type"] = rope.pop("type", "default")
    rope["rope_theta"] = fields.pop("rope_theta")
    if fields["model_type"] != "phimoe":
        rope["partial_rotary_factor"] = fields.pop("partial_rotary_factor", 1.0)
    if rope["rope_type"] == "longrope":
        rope["original_max_position_embeddings"] = fields["original_max_position_embeddings"]
    fields |= {
        "architectures": [fields["architectures"][0].replace("PhiMoE", "Phimoe")],
        "dtype": fields.pop("torch_dtype"),
        "pad_token_id": fields.get("pad_token_id"),
        "rope_parameters": dict(sorted(rope.items())),
        "transformers_version": "5.5.4",
    }
    return dict(sorted(fields.items()))


def generation_config(tokenizer: Tokenizer, spelling: Spelling) -> dict[str, Any]:
    """What generation_config.json says: an instruct model stops at several tokens."""
    stops = [tokenizer.id_of(stop) for stop in tokenizer.stops]
    fields = {
        "_from_model_config": True,
        "bos_token_id": tokenizer.id_of(tokenizer.bos),
        "eos_token_id": stops if len(stops) > 1 else stops[0],
        "transformers_version": "4.45.0" if spelling == "published" else "5.5.4",
    }
    return fields | ({"pad_token_id": tokenizer.id_of(tokenizer.pad)} if tokenizer.pad else {})
