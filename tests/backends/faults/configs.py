"""Checkpoints whose config.json has unusual, respelled or missing fields."""

from __future__ import annotations

from tests.backends.faults.fault import ALL, NOT_ONNX, Fault, config, unchanged

OPENVINO = frozenset({"openvino"})
BY_TRANSFORMERS = frozenset({"onnx", "openvino"})
"""The formats whose toolkits load models with transformers."""
HALF = [1.0 + 0.1 * index for index in range(16)]


def longrope(**fields: object) -> dict[str, object]:
    """rope_scaling of heads of width 64, rotated entirely; fields set to `...` are left out."""
    factors = [1.0 + 0.1 * index for index in range(32)]
    whole = {"type": "longrope", "long_factor": factors, "short_factor": factors} | fields
    return {name: value for name, value in whole.items() if value is not ...}


def long(**fields: object) -> dict[str, object]:
    """config.json of a longrope model."""
    return {"max_position_embeddings": 16384, "rope_scaling": longrope(**fields)}


FAMILIES = [
    Fault("phi", "phi-2", unchanged, ALL),
    Fault("phi3", "phi-3", unchanged, ALL),
    Fault("phi3, longrope of one factor", "phi-3.5", unchanged, ALL),
    Fault("phi3, shared keys, partial rotary, tied, longrope", "phi-4-mini", unchanged, ALL),
    Fault("phimoe", "phi-3.5-moe", unchanged, NOT_ONNX),
    Fault("phi as transformers 5 saves it", "phi-2", unchanged, ALL, {"spelling": "transformers5"}),
    Fault("phi3 as transformers 5 saves it", "phi-3", unchanged, ALL,
          {"spelling": "transformers5"}),
]  # fmt: skip

ABSENT = [
    Fault("phi says only its sizes", "phi-2",
          config(hidden_act=..., layer_norm_eps=..., num_key_value_heads=..., rope_theta=...,
                 tie_word_embeddings=..., torch_dtype=..., partial_rotary_factor=...,
                 qk_layernorm=..., max_position_embeddings=..., attention_dropout=...,
                 rope_scaling=..., architectures=...), ALL),
    Fault("phi3 says only its sizes", "phi-3",
          config(hidden_act=..., rms_norm_eps=..., num_key_value_heads=..., rope_theta=...,
                 tie_word_embeddings=..., torch_dtype=..., max_position_embeddings=...,
                 original_max_position_embeddings=..., sliding_window=..., rope_scaling=...,
                 attention_bias=..., architectures=...), ALL),
    Fault("phimoe says only its sizes", "phi-3.5-moe",
          config(hidden_act=..., rms_norm_eps=..., rope_theta=..., tie_word_embeddings=...,
                 torch_dtype=..., num_experts_per_tok=..., sliding_window=...,
                 router_jitter_noise=..., input_jitter_noise=...), NOT_ONNX),
    Fault("phimoe without its biases' fields", "phi-3.5-moe",
          config(attention_bias=..., lm_head_bias=...)),
    Fault("key heads null", "phi-3", config(num_key_value_heads=None), ALL),
    Fault("model_type absent", "phi-3", config(model_type=...)),
    Fault("vocab_size absent", "phi-3", config(vocab_size=...)),
    Fault("hidden_size absent", "phi-3", config(hidden_size=...)),
]  # fmt: skip

ROTARY = [
    Fault("phi rotates whole heads", "phi-2", config(partial_rotary_factor=1.0), ALL),
    Fault("phi rotates half of each head", "phi-2", config(partial_rotary_factor=0.5), ALL),
    Fault("phi's rotated share absent", "phi-2", config(partial_rotary_factor=...), ALL),
    Fault("phi rotates an odd number of dimensions", "phi-2", config(partial_rotary_factor=0.4)),
    Fault("phi's rotary in rope_parameters", "phi-2",
          config(partial_rotary_factor=..., rope_theta=..., rope_scaling=...,
                 rope_parameters={"rope_type": "default", "rope_theta": 10000.0,
                                  "partial_rotary_factor": 1.0}), ALL),
    Fault("phi3 rotates half of each head", "phi-3", config(partial_rotary_factor=0.5), ALL),
    Fault("rope_theta of phi3", "phi-3", config(rope_theta=500000.0), ALL),
    Fault("rope_theta of phi", "phi-2", config(rope_theta=500.0), ALL - {"gguf"}),
    Fault("rms_norm_eps of phi3", "phi-3", config(rms_norm_eps=0.1), ALL),
    Fault("layer_norm_eps of phi", "phi-2", config(layer_norm_eps=0.1), ALL),
    Fault("rms_norm_eps of phimoe", "phi-3.5-moe", config(rms_norm_eps=0.1), NOT_ONNX),
    Fault("head_dim that is hidden over heads", "phi-3", config(head_dim=64), ALL),
    Fault("max_position_embeddings shorter", "phi-3",
          config(max_position_embeddings=512, original_max_position_embeddings=512), ALL),
    Fault("linear rope of phi3", "phi-3", config(rope_scaling={"type": "linear", "factor": 2.0})),
    Fault("dynamic rope of phi3", "phi-3", config(rope_scaling={"type": "dynamic", "factor": 2.0})),
    Fault("linear rope of phi", "phi-2", config(rope_scaling={"type": "linear", "factor": 2.0}),
          BY_TRANSFORMERS),
    Fault("rope of an unknown type", "phi-3",
          config(rope_scaling={"type": "spiral", "factor": 2.0})),
    Fault("rope of the default type, explicit", "phi-3",
          config(rope_scaling={"type": "default"}), ALL),
    Fault("longrope, named su", "phi-3", config(**long(type="su")), ALL,
          reference=config(**long())),
    Fault("longrope, short factors of another length", "phi-3", config(**long(short_factor=HALF))),
    Fault("longrope, long factors of another length", "phi-3", config(**long(long_factor=HALF))),
    Fault("longrope without short factors", "phi-3", config(**long(short_factor=...))),
    Fault("longrope without long factors", "phi-3", config(**long(long_factor=...))),
    Fault("longrope, short factors that differ", "phi-3",
          config(**long(short_factor=[1.0 + 0.02 * index for index in range(32)])), ALL),
]  # fmt: skip

FIELDS = [
    Fault("another activation of phi3", "phi-3", config(hidden_act="gelu"), BY_TRANSFORMERS),
    Fault("another activation of phi", "phi-2", config(hidden_act="relu"), BY_TRANSFORMERS),
    Fault("exact gelu of phi", "phi-2", config(hidden_act="gelu"), BY_TRANSFORMERS),
    Fault("another activation of phimoe", "phi-3.5-moe", config(hidden_act="gelu"), OPENVINO),
    Fault("an unknown activation", "phi-3", config(hidden_act="wave")),
    Fault("qk_layernorm without its norms", "phi-2", config(qk_layernorm=True)),
    Fault("attention_bias that transformers ignores", "phi-3", config(attention_bias=True),
          BY_TRANSFORMERS),
    Fault("three experts for each token", "phi-3.5-moe", config(num_experts_per_tok=3), OPENVINO),
    Fault("one expert for each token", "phi-3.5-moe", config(num_experts_per_tok=1), OPENVINO),
    Fault("a window of six tokens", "phi-3", config(sliding_window=6), ALL),
    Fault("no window", "phi-3", config(sliding_window=None), ALL),
    Fault("a longer context without longrope", "phi-3", config(max_position_embeddings=8192),
          ALL - {"onnx"}),
    Fault("phimoe without longrope", "phi-3.5-moe", config(rope_scaling=None),
          frozenset({"gguf", "openvino"})),
    Fault("sizes that are texts", "phi-3", config(hidden_size="256")),
    Fault("negative sizes", "phi-3", config(num_key_value_heads=-4)),
    Fault("another model_type", "phi-3", config(model_type="llama")),
    Fault("another architecture", "phi-3", config(architectures=["LlamaForCausalLM"]),
          frozenset({"openvino", "mlx"})),
]  # fmt: skip

CONFIGS = [*FAMILIES, *ABSENT, *ROTARY, *FIELDS]
