"""The built-in backends fulfil the contract for backends; GGUF's and the imatrix's are beside their
other tests."""

from __future__ import annotations

from typing import ClassVar

from phibuild.model.recipe import rules_of
from phibuild.registry import load_registry
from phibuild.testing.contract import BackendContract
from tests.plugins import test_gguf_recipe

PAGED = {"execution_provider": "cuda", "use_paged_attention": True}


class TestOnnxBackend(BackendContract):
    backend_name = "onnx"
    good_fields: ClassVar = [
        {},
        {"precision": "int8"},
        {"precision": "fp32"},
        {"precision": "fp16"},
        {"precision": "fp16", "execution_provider": "cuda"},
        {"execution_provider": "cuda", "use_paged_attention": True, "paged_chunk_size": 64},
        {"execution_provider": "cuda", "use_paged_attention": True, "max_scheduled_tokens": 256},
        {"block_size": 128},
        {"accuracy_level": 1},
        {"is_symmetric": False},
        {"algo_config": "k_quant"},
        {"matmul_mixed_precision": {"last_matmul": "int8"}},
        {"op_types_to_quantize": ["MatMul", "Gather"]},
        {"nodes_to_exclude": ["/lm_head/MatMul"]},
        {"use_qdq": True},
        {"fuse_qkv": False},
        {"prune_lm_head": True},
        {"fuse_mlp_gate_up": False},
        {"include_hidden_states": True},
        {"shared_embeddings": True},
        {"use_device_allocator_for_initializers": True},
        {"execution_provider": "dml", "enable_dml_graph": True},
        {"execution_provider": "webgpu", "enable_webgpu_graph": True},
        {"execution_provider": "webgpu", "use_webgpu_fp32": True},
        {"execution_provider": "cuda", "enable_cuda_graph": True},
        {"execution_provider": "cuda", "use_cuda_bf16": True},
        {"execution_provider": "cuda", "matmulnbits_weights_prepacked": 1},
        {"execution_provider": "cuda", "enable_cuda_fpa_intb_gemm": True},
        {**PAGED, "paged_block_size": 32},
        {**PAGED, "max_batch_size": 2},
        {**PAGED, "num_blocks": 64},
        {**PAGED, "gpu_utilization_factor": 0.5},
        {**PAGED, "kv_cache_quant_scheme": "int8_per_token"},
        {**PAGED, "kv_cache_rotation": "hadamard"},
    ]
    bad_fields: ClassVar = [
        {"precision": "int2"},
        {"precision": "fp32", "execution_provider": "cuda"},
        {"execution_provider": "gpu"},
        {"execution_provider": "cuda", "paged_chunk_size": 64},
        {"block_size": 48},
        {"int4_block_size": 32},
        {"precision": "int8", "use_qdq": True},
        {"precision": "fp32", "block_size": 32},
        {"exclude_embeds": True},
        {"enable_cuda_graph": True},
        {"matmul_mixed_precision": {"last_matmul": "int4"}},
    ]


class TestOpenVinoBackend(BackendContract):
    backend_name = "openvino"
    good_fields: ClassVar = [
        {},
        {"precision": "int8"},
        {"precision": "int8", "sym": True},
        {"precision": "fp16"},
        {"precision": "fp32"},
        {"sym": True},
        {"group_size": 64},
        {"group_size": -1},
        {"ratio": 0.6},
        {"ratio": 0.6, "backup_precision": "int8_sym"},
        {"ratio": 0.6, "sensitivity_metric": "weight_quantization_error", "awq": True},
        {"all_layers": True},
        {"awq": True},
    ]
    bad_fields: ClassVar = [
        {"precision": "int2"},
        {"group_size": 0},
        {"ratio": 0},
        {"ratio": 1.5},
        {"precision": "int8", "group_size": 64},
        {"precision": "int8", "group_size": 0},
        {"precision": "int8", "ratio": 0},
        {"precision": "fp16", "sym": True},
        {"gptq": True},
        {"scale_estimation": True},
        {"num_samples": 16},
        {"sensitivity_metric": "weight_quantization_error"},
        {"weight_format": "int4"},
    ]


class TestCalibratedOpenVinoBackend(BackendContract):
    backend_name = "openvino"
    extras: ClassVar = {"calibration": "calibration.txt"}
    good_fields: ClassVar = [
        {"awq": True},
        {"scale_estimation": True},
        {"gptq": True},
        {"lora_correction": True},
        {"ratio": 0.6},
        {"awq": True, "num_samples": 16},
        {"awq": True, "seq_len": 64},
    ]
    bad_fields: ClassVar = [
        {},
        {"precision": "int8"},
        {"gptq": True, "lora_correction": True},
        {"awq": True, "num_samples": 0},
        {"ratio": 0.6, "sensitivity_metric": "weight_quantization_error"},
    ]


class TestMlxBackend(BackendContract):
    backend_name = "mlx"
    good_fields: ClassVar = [
        {},
        {"precision": "int8"},
        {"precision": "fp16"},
        {"precision": "bf16"},
        {"precision": "fp32"},
        {"bits": 6},
        {"group_size": 32},
        {"mode": "mxfp4"},
        {"mode": "mxfp8"},
        {"mode": "nvfp4"},
        {"quant_predicate": "mixed_3_6"},
        {"dtype": "float32"},
    ]
    bad_fields: ClassVar = [
        {"precision": "int2"},
        {"bits": 7},
        {"bits": 8, "precision": "int4"},
        {"group_size": 48},
        {"mode": "mxfp4", "group_size": 64},
        {"mode": "nvfp4", "quant_predicate": "mixed_3_6"},
        {"quant_predicate": "mixed_3_6", "bits": 4},
        {"precision": "fp16", "group_size": 32},
        {"q_bits": 4},
    ]


def test_every_built_in_backend_has_a_contract() -> None:
    """Add new plugins here."""
    values = [*globals().values(), *vars(test_gguf_recipe).values()]
    contracts = [v for v in values if isinstance(v, type) and issubclass(v, BackendContract)]
    tested = {contract.backend_name for contract in contracts if contract is not BackendContract}
    assert tested >= {backend.name for backend in load_registry().backends.values()}


ALWAYS_REFUSED = {("onnx", "exclude_embeds"), ("onnx", "exclude_lm_head")}


def test_every_field_is_in_a_good_recipe() -> None:
    """Only then the contract sees whether the plan reads it."""
    values = [*globals().values(), *vars(test_gguf_recipe).values()]
    contracts = [v for v in values if isinstance(v, type) and issubclass(v, BackendContract)]
    given = {
        (contract.backend_name, field)
        for contract in contracts
        if contract is not BackendContract
        for fields in contract.good_fields
        for field in fields
    }
    backends = load_registry().backends.values()
    fields = {(backend.name, field) for backend in backends for field in rules_of(backend.recipe)}
    assert fields - given == ALWAYS_REFUSED
