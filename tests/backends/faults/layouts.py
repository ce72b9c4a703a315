"""Checkpoints whose tensors do not fit config.json: missing, unexpected or renamed."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from tests.backends.checkpoint_files import Stored, Tensors, stored, values_of
from tests.backends.faults.fault import ALL, NOT_ONNX, Fault, both, config, tensors

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def without(pattern: str) -> Callable[[Tensors], Tensors]:
    """All tensors except those whose names match the pattern."""
    return lambda all: {name: all[name] for name in all if not re.search(pattern, name)}


def renamed(change: Callable[[str], str]) -> Callable[[Tensors], Tensors]:
    return lambda all: {change(name): tensor for name, tensor in all.items()}


def prefixed(prefix: str) -> Callable[[Tensors], Tensors]:
    return renamed(lambda name: prefix + name)


def with_tensor(name: str, like: str, *, dtype: str | None = None) -> Callable[[Tensors], None]:
    """A copy of one tensor under another name."""

    def change(all: Tensors) -> None:
        tensor = all[like]
        all[name] = stored(values_of(tensor), dtype) if dtype else tensor

    return change


def another_head(all: Tensors) -> None:
    """A head that is the embedding, its rows moved on by seven."""
    all[HEAD] = stored(np.roll(values_of(all[EMBEDDING]), 7, axis=0), all[EMBEDDING].dtype)


def rows(*names: str, more: int) -> Callable[[Tensors], None]:
    """More or fewer rows of some tensors."""

    def change(all: Tensors) -> None:
        for name in names:
            values = values_of(all[name])
            values = np.concatenate([values, values[:more]]) if more > 0 else values[:more]
            all[name] = stored(values, all[name].dtype)

    return change


def llama_layout(all: Tensors) -> Tensors:
    """The fused projections of Phi-3 split, as in Llama."""
    result: Tensors = {}
    for name, tensor in all.items():
        if name.endswith("qkv_proj.weight"):
            for part, values in zip("qkv", np.split(values_of(tensor), 3), strict=True):
                result[name.replace("qkv", part)] = stored(values, tensor.dtype)
        elif name.endswith("gate_up_proj.weight"):
            for word, values in zip(("gate", "up"), np.split(values_of(tensor), 2), strict=True):
                result[name.replace("gate_up", word)] = stored(values, tensor.dtype)
        else:
            result[name] = tensor
    return result


def peft_saved(all: Tensors) -> Tensors:
    """A base model saved through PEFT, with its adapter's matrices."""
    result: Tensors = {}
    for name, tensor in all.items():
        if "o_proj" in name:
            stem = name.removesuffix(".weight")
            result[f"{stem}.base_layer.weight"] = tensor
            rank = stored(np.ones((4, tensor.shape[1])), tensor.dtype)
            result[f"{stem}.lora_A.default.weight"] = rank
            back = stored(np.zeros((tensor.shape[0], 4)), tensor.dtype)
            result[f"{stem}.lora_B.default.weight"] = back
        else:
            result[name] = tensor
    return result


def old_phi(all: Tensors) -> Tensors:
    """The names of Phi-1.5's first code: one Sequential."""
    inside = {"input_layernorm": "ln", "self_attn.dense": "mixer.out_proj"}
    inside |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    result: Tensors = {}
    for name, tensor in all.items():
        match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if name == EMBEDDING:
            result["layers.0.wte.weight"] = tensor
        elif match is None:
            last = name.replace("model.final_layernorm", "layers.3.ln")
            result[last.replace("lm_head", "layers.3.linear")] = tensor
        elif "q_proj" in name:
            whole = [all[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            joined = np.concatenate([values_of(part) for part in whole])
            name = f"layers.{int(match[1]) + 1}.mixer.Wqkv.{match[3]}"
            result[name] = stored(joined, tensor.dtype)
        elif match[2] in inside:
            name = f"layers.{int(match[1]) + 1}.{inside[match[2]]}.{match[3]}"
            result[name] = tensor
    return result


def old_huggingface_phi(all: Tensors) -> Tensors:
    """The names of Phi-2 as it was first published."""
    words = {"model.embed_tokens": "transformer.embd.wte", "model.layers": "transformer.h"}
    words |= {"input_layernorm": "ln", "self_attn.dense": "mixer.out_proj"}
    words |= {"model.final_layernorm": "lm_head.ln", "lm_head.": "lm_head.linear."}

    def rename(name: str) -> str:
        for old, new in words.items():
            if old in name:
                name = name.replace(old, new)
        return name.replace("self_attn.", "mixer.")

    return renamed(rename)(all)


def transposed(name: str) -> Callable[[Tensors], None]:
    def change(all: Tensors) -> None:
        all[name] = stored(values_of(all[name]).T, all[name].dtype)

    return change


def inverse_frequencies(layers: int, width: int) -> Callable[[Tensors], None]:
    """Buffers that older transformers saved with the weights."""

    def change(all: Tensors) -> None:
        table = (10000.0 ** -(np.arange(width) / width)).astype("<f4")
        for layer in range(layers):
            name = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
            all[name] = Stored("F32", (width,), table.tobytes())

    return change


def fused_experts(all: Tensors) -> Tensors:
    """The experts of a layer in one tensor, as in newer code."""
    result = without(r"\.experts\.")(all)
    for layer in range(2):
        stem = f"model.layers.{layer}.block_sparse_moe.experts."
        for word in ("w1", "w2", "w3"):
            matrices = [values_of(all[f"{stem}{number}.{word}.weight"]) for number in range(4)]
            result[f"{stem}{word}"] = stored(np.stack(matrices), "BF16")
    return result


def narrow_heads(all: Tensors) -> None:
    """Heads 32 wide, of which four do not fill the hidden size."""
    for layer in range(2):
        stem = f"model.layers.{layer}.self_attn."
        joined = values_of(all[f"{stem}qkv_proj.weight"])
        parts = [part[:128] for part in np.split(joined, 3)]
        all[f"{stem}qkv_proj.weight"] = stored(np.concatenate(parts), "BF16")
        back = values_of(all[f"{stem}o_proj.weight"])[:, :128]
        all[f"{stem}o_proj.weight"] = stored(back, "BF16")


def shared_keys(all: Tensors) -> None:
    """Half as many key heads as heads, in phi."""
    for name, tensor in all.items():
        if "k_proj" in name or "v_proj" in name:
            all[name] = stored(values_of(tensor)[:128], tensor.dtype)


def with_norms_of_queries(all: Tensors) -> None:
    for layer in range(2):
        for word in ("q", "k"):
            stem = f"model.layers.{layer}.self_attn.{word}_layernorm"
            all[f"{stem}.weight"] = stored(np.linspace(0.5, 1.5, 64), "F16")
            all[f"{stem}.bias"] = stored(np.linspace(-0.1, 0.1, 64), "F16")


MISSING = [
    Fault("head missing", "phi-3", tensors(without("lm_head"))),
    Fault("head missing of phi", "phi-2", tensors(without(r"lm_head\.weight"))),
    Fault("head's bias missing of phi", "phi-2", tensors(without(r"lm_head\.bias"))),
    Fault("head missing of phimoe", "phi-3.5-moe", tensors(without(r"lm_head\.weight"))),
    Fault("embedding missing", "phi-3", tensors(without("embed_tokens"))),
    Fault("tied embedding stored as the head", "tied",
          tensors(renamed(lambda name: HEAD if name == EMBEDDING else name))),
    Fault("last layer missing", "phi-3", tensors(without(r"layers\.1\."))),
    Fault("first layer missing", "phi-3", tensors(without(r"layers\.0\."))),
    Fault("last matrix missing", "phi-3", tensors(without(r"layers\.1\.mlp\.down"))),
    Fault("last norm missing", "phi-3", tensors(without(r"model\.norm"))),
    Fault("last norm's bias missing", "phi-2", tensors(without(r"final_layernorm\.bias"))),
    Fault("norm of a layer missing", "phi-3", tensors(without(r"1\.post_attention"))),
    Fault("bias missing of phi", "phi-2", tensors(without(r"1\.self_attn\.q_proj\.bias"))),
    Fault("all biases missing of phi", "phi-2", tensors(without(r"\.bias"))),
    Fault("bias missing of phimoe", "phi-3.5-moe", tensors(without(r"1\.self_attn\.k_proj\.bias"))),
    Fault("expert missing", "phi-3.5-moe", tensors(without(r"1\.\w+\.experts\.3\."))),
    Fault("matrix of an expert missing", "phi-3.5-moe",
          tensors(without(r"0\.\w+\.experts\.0\.w2"))),
    Fault("router missing", "phi-3.5-moe", tensors(without(r"block_sparse_moe\.gate"))),
    Fault("config has a layer more", "phi-3", config(num_hidden_layers=3)),
    Fault("config has a layer fewer", "phi-3", config(num_hidden_layers=1)),
    Fault("config has no layer", "phi-3", config(num_hidden_layers=0)),
    Fault("config has an expert more", "phi-3.5-moe", config(num_local_experts=5)),
    Fault("config has an expert fewer", "phi-3.5-moe", config(num_local_experts=3)),
]  # fmt: skip

NAMES = [
    Fault("layout of Llama", "phi-3", tensors(llama_layout)),
    Fault("prefix of PEFT", "phi-3", tensors(prefixed("base_model.model."))),
    Fault("adapter of PEFT left in", "phi-3", tensors(peft_saved)),
    Fault("prefix of torch.compile", "phi-3", tensors(prefixed("_orig_mod."))),
    Fault("prefix of data parallel training", "phi-3", tensors(prefixed("module."))),
    Fault("prefix model. twice", "phi-3",
          tensors(renamed(lambda name: name.replace("model.", "model.model.", 1)))),
    Fault("no prefix model.", "phi-3", tensors(renamed(lambda name: name.removeprefix("model.")))),
    Fault("prefix of a language model in a larger one", "phi-3",
          tensors(prefixed("language_model."))),
    Fault("names of Phi-1.5's first code", "phi-2", tensors(old_phi)),
    Fault("names of Phi-2's first code", "phi-2", tensors(old_huggingface_phi)),
    Fault("experts in one tensor", "phi-3.5-moe", tensors(fused_experts)),
    Fault("config of Phi-3 with the weights of Phi-2", "phi-2",
          config(model_type="phi3", architectures=["Phi3ForCausalLM"])),
    Fault("a tensor of no name that is known", "phi-3",
          tensors(with_tensor("model.value_head.weight", HEAD))),
    Fault("a bias that the family has not", "phi-3",
          tensors(with_tensor("model.layers.0.self_attn.o_proj.bias", "model.norm.weight"))),
    Fault("a norm of queries that the family has not", "phi-2",
          tensors(with_tensor("model.layers.0.self_attn.q_layernorm.weight",
                              "model.final_layernorm.weight"))),
    Fault("rotary tables saved", "phi-2", tensors(inverse_frequencies(2, 8)), ALL),
    Fault("rotary tables saved of phi-3", "phi-3", tensors(inverse_frequencies(2, 32)), ALL),
    Fault("rotary tables saved of phimoe", "phi-3.5-moe", tensors(inverse_frequencies(2, 32)),
          NOT_ONNX),
]  # fmt: skip

SHAPES = [
    Fault("heads narrower than the hidden size over heads", "phi-3",
          both(tensors(narrow_heads), config(head_dim=32)), frozenset({"onnx", "openvino"})),
    Fault("keys shared by queries in phi", "phi-2",
          both(tensors(shared_keys), config(num_key_value_heads=2)), frozenset({"onnx", "mlx"})),
    Fault("norms of queries and keys in phi", "phi-2",
          both(tensors(with_norms_of_queries), config(qk_layernorm=True)), frozenset({"openvino"})),
    Fault("phimoe without biases", "phi-3.5-moe",
          both(tensors(without(r"_proj\.bias|lm_head\.bias")),
               config(attention_bias=False, lm_head_bias=False)), frozenset({"openvino"})),
    Fault("more rows than vocab_size", "phi-3", tensors(rows(EMBEDDING, HEAD, more=8))),
    Fault("fewer rows than vocab_size", "phi-3", tensors(rows(EMBEDDING, HEAD, more=-8))),
    Fault("more rows of the embedding alone", "phi-3", tensors(rows(EMBEDDING, more=8))),
    Fault("more rows of the head alone", "phi-3", tensors(rows(HEAD, more=8))),
    Fault("more rows of a tied embedding", "tied", tensors(rows(EMBEDDING, more=8))),
    Fault("rows and vocab_size padded alike", "phi-3",
          both(tensors(rows(EMBEDDING, HEAD, more=8)), config(vocab_size=1064)), ALL),
    Fault("matrix transposed", "phi-3", tensors(transposed("model.layers.0.mlp.down_proj.weight"))),
    Fault("all matrices transposed", "phi-3",
          tensors(lambda all: {name: stored(values_of(tensor).T, tensor.dtype)
                               for name, tensor in all.items()})),
    Fault("heads halved in the config", "phi-3", config(num_attention_heads=2)),
    Fault("key heads halved in the config", "phi-3", config(num_key_value_heads=2)),
    Fault("key heads halved in phi's config", "phi-2", config(num_key_value_heads=2)),
    Fault("key heads absent where queries share them", "tied", config(num_key_value_heads=...)),
    Fault("head_dim halved in the config", "phi-3", config(head_dim=32)),
    Fault("feed forward narrower in the config", "phi-3", config(intermediate_size=256)),
    Fault("feed forward wider in phi's config", "phi-2", config(intermediate_size=2048)),
    Fault("hidden size doubled in the config", "phi-3", config(hidden_size=512)),
    Fault("heads that do not divide the hidden size", "phi-3", config(num_attention_heads=3)),
]  # fmt: skip

TIES = [
    Fault("tied", "tied", tensors(lambda all: None), ALL),
    Fault("tied, head stored with equal bytes", "tied", tensors(with_tensor(HEAD, EMBEDDING)), ALL),
    Fault("tied, head stored with other bytes", "tied", tensors(another_head)),
    Fault("tied, head stored in another dtype", "tied",
          tensors(with_tensor(HEAD, EMBEDDING, dtype="F32"))),
    Fault("tied, head stored with more rows", "tied",
          tensors(lambda all: (with_tensor(HEAD, EMBEDDING)(all), rows(HEAD, more=8)(all))[1])),
    Fault("tie_word_embeddings absent, head stored", "phi-3", config(tie_word_embeddings=...), ALL),
    Fault("tie_word_embeddings absent, no head", "tied", config(tie_word_embeddings=...)),
    Fault("tied phi", "phi-2",
          both(tensors(without(r"lm_head\.weight")), config(tie_word_embeddings=True)),
          frozenset({"onnx", "openvino"})),
    Fault("tied phimoe", "phi-3.5-moe",
          both(tensors(without(r"lm_head\.weight")), config(tie_word_embeddings=True)),
          frozenset({"openvino"})),
    Fault("tied in the config of an untied model", "phi-3", config(tie_word_embeddings=True)),
]  # fmt: skip

LAYOUTS = [*MISSING, *NAMES, *SHAPES, *TIES]
