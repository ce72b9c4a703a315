"""The recipe of an ONNX artifact: the model builder's options of 0.18, under its own names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from phibuild.api import PRECISIONS, recipe_field

PROVIDERS = ("cpu", "cuda", "dml", "webgpu", "NvTensorRtRtx")

SCALES = "kv_cache_scale_file"
"""The keyword for the file with the scales of a quantized cache."""


@dataclass(frozen=True, slots=True)
class OnnxRecipe:
    """Fields left out have the builder's defaults, which the plan spells out."""

    outdated: ClassVar[dict[str, str]] = {
        "int4_block_size": "block_size",
        "int4_accuracy_level": "accuracy_level",
        "int4_is_symmetric": "is_symmetric",
        "int4_op_types_to_quantize": "op_types_to_quantize",
        "int4_nodes_to_exclude": "nodes_to_exclude",
        "int4_algo_config": "algo_config",
        "disable_qkv_fusion": "fuse_qkv=False",
        "use_8bits_matmul": "matmul_mixed_precision",
    }

    precision: str = recipe_field("int4", "type of the weights", kind="str", choices=PRECISIONS)
    execution_provider: str = recipe_field(
        "cpu",
        "what the artifact runs on; all of them build here, only cpu also runs here",
        kind="str",
        choices=PROVIDERS,
    )
    block_size: int | None = recipe_field(
        None,
        "consecutive weights that share a scale (32)",
        kind="int",
        choices=(16, 32, 64, 128, 256),
    )
    accuracy_level: int | None = recipe_field(
        None,
        "minimum accuracy of activations: 1 fp32, 2 fp16, 3 bf16, 4 int8 (4 on cpu, else 0: unset)",
        kind="int",
        choices=(0, 1, 2, 3, 4),
    )
    is_symmetric: bool | None = recipe_field(
        None, "quantize around zero, without zero points (True)", kind="bool"
    )
    algo_config: str | None = recipe_field(
        None,
        "base method of quantization (default)",
        kind="str",
        choices=("default", "rtn", "k_quant"),
    )
    matmul_mixed_precision: tuple[tuple[str, str], ...] | None = recipe_field(
        None,
        "another type for last_matmul or mixed_layers, such as {'last_matmul': 'int8'}",
        kind="str_map",
    )
    op_types_to_quantize: tuple[str, ...] | None = recipe_field(
        None, "which operators are quantized (MatMul)", kind="strs", choices=("MatMul", "Gather")
    )
    nodes_to_exclude: tuple[str, ...] | None = recipe_field(
        None, "nodes that keep their precision, such as /lm_head/MatMul", kind="strs"
    )
    use_qdq: bool | None = recipe_field(
        None, "QuantizeLinear and DequantizeLinear instead of MatMulNBits (False)", kind="bool"
    )
    fuse_qkv: bool | None = recipe_field(
        None, "one MatMul for query, key and value (True)", kind="bool"
    )
    fuse_mlp_gate_up: bool | None = recipe_field(
        None, "one MatMul for gate and up (False)", kind="bool"
    )
    prune_lm_head: bool | None = recipe_field(
        None, "logits of the last token only, while the prompt is read (False)", kind="bool"
    )
    include_hidden_states: bool | None = recipe_field(
        None, "hidden states as a further output (False)", kind="bool"
    )
    exclude_embeds: bool | None = recipe_field(
        None, "refused: such an artifact builds and cannot generate", kind="bool"
    )
    exclude_lm_head: bool | None = recipe_field(
        None, "refused: such an artifact builds and cannot generate", kind="bool"
    )
    shared_embeddings: bool | None = recipe_field(
        None, "one matrix for embedding and head, of a model that ties them (True)", kind="bool"
    )
    use_device_allocator_for_initializers: bool | None = recipe_field(
        None,
        "weights outside the arena, so that what a kernel repacks is freed (False)",
        kind="bool",
    )
    enable_dml_graph: bool | None = recipe_field(
        None, "graph capture (dml only, True)", kind="bool"
    )
    enable_cuda_graph: bool | None = recipe_field(None, "CUDA graphs (cuda only)", kind="bool")
    matmulnbits_weights_prepacked: int | None = recipe_field(
        None,
        "layout of int4 and int8 weights: 0 raw, 1 for Ampere, 2 for Hopper (cuda only, 0)",
        kind="int",
        choices=(0, 1, 2),
    )
    enable_cuda_fpa_intb_gemm: bool | None = recipe_field(
        None, "fpA_intB kernels for weights in the raw layout (cuda only, False)", kind="bool"
    )
    use_paged_attention: bool | None = recipe_field(
        None, "a paged cache for continuous batching (cuda only, False)", kind="bool"
    )
    paged_block_size: int | None = recipe_field(
        None,
        "tokens in a page of the cache (256; paged attention only)",
        kind="int",
        choices=(16, 32, 64, 128, 256, 512),
    )
    paged_chunk_size: int | None = recipe_field(
        None, "tokens of one prompt in a step (paged attention only)", kind="int", minimum=1
    )
    max_batch_size: int | None = recipe_field(
        None,
        "requests in a batch (100; paged attention only)",
        kind="int",
        minimum=1,
        maximum=256,
    )
    max_scheduled_tokens: int | None = recipe_field(
        None, "tokens in a step (paged attention only)", kind="int", minimum=1
    )
    num_blocks: int | None = recipe_field(
        None,
        "pages of the cache, instead of gpu_utilization_factor (paged attention only)",
        kind="int",
        minimum=1,
    )
    gpu_utilization_factor: float | None = recipe_field(
        None,
        "share of the free memory for the cache (0.6; paged attention only)",
        kind="float",
        minimum=0.01,
        maximum=1,
    )
    kv_cache_quant_scheme: str | None = recipe_field(
        None,
        "quantize keys and values of earlier tokens (cpu and cuda; not fp8 on cpu; per_token for"
        " paged attention only), by the scales in kv_cache_scale_file=",
        kind="str",
        choices=(
            "int8_per_tensor",
            "int8_per_channel",
            "int4_per_tensor",
            "int4_per_channel",
            "fp8_per_tensor",
            "fp8_per_channel",
            "int8_per_token",
            "int4_per_token",
        ),
    )
    kv_cache_rotation: str | None = recipe_field(
        None,
        "rotate keys and values, except with per_channel schemes (paged attention only)",
        kind="str",
        choices=("hadamard",),
    )
    use_cuda_bf16: bool | None = recipe_field(
        None, "bfloat16 beside int4 weights (cuda only)", kind="bool"
    )
    enable_webgpu_graph: bool | None = recipe_field(
        None, "graph capture (webgpu only)", kind="bool"
    )
    use_webgpu_fp32: bool | None = recipe_field(
        None, "float32 beside the weights (webgpu only)", kind="bool"
    )
