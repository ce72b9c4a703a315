"""Writes the metadata of architecture and tokenizer with llama.cpp's converter; runs under the gguf
toolchain.

The converter gets a checkpoint without weights, chat template and generation settings; the action
gguf.metadata adds what depends on those. The converter is not modified: a subclass of its class for
the model supplies what it would derive from a folder's name or a list of known tokenizers.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import phiworker

from phibuild_gguf.metadata import vocabulary

# These depend on the tensors and their types.
_LEFT_OUT = ("general.size_label", "general.file_type", "general.quantization_version")


def main(job: phiworker.Job) -> None:
    model = job.inputs["model"]
    logging.basicConfig(level=logging.INFO)
    sys.path.insert(1, str(job.tools["llama.cpp"] / "python"))
    with job.importing("torch and transformers"):
        import conversion
        import gguf
    gguf.SpecialVocab = special_tokens_of_tokenizer(gguf.SpecialVocab)
    job.progress(None, "reading the tokenizer")
    try:
        architecture = conversion.get_model_architecture(
            conversion.ModelBase.load_hparams(model, False), conversion.ModelType.TEXT
        )
        base = conversion.get_model_class(architecture)
        converter = converter_class(base, model, job.recipe["pre_tokenizer"])(
            model,
            gguf.LlamaFileType.MOSTLY_F16,
            job.output,
            model_name=vocabulary.plain_name(model),
        )
        keep_original_context(converter, model)
        # Computes the scale of longrope; it converts no tensors here.
        converter.prepare_tensors()
        converter.prepare_metadata(vocab_only=False)
    except (AssertionError, KeyError, NotImplementedError, ValueError) as error:
        traceback.print_exc()
        raise phiworker.WorkerError(
            f"llama.cpp's converter rejects the checkpoint: {error or type(error).__name__}",
            hint="see the log; the checkpoint may be incomplete",
        ) from error
    writer = converter.gguf_writer
    writer.tensors = [{}]
    for key in _LEFT_OUT:
        writer.remove_key(key)
    writer.write_header_to_file(path=job.output)
    writer.write_kv_data_to_file()
    writer.close()


def converter_class(base: Any, model: Path, pre_tokenizer: str | None) -> Any:
    """The converter's class for the model, without its dependence on folder names and known
    tokenizers."""

    def index_tensors(self: Any, remote_hf_model_id: str | None = None) -> dict[str, Any]:
        return {}

    def set_vocab(self: Any) -> None:
        if not vocabulary.is_sentencepiece(model):
            self._set_vocab_gpt2()
            return
        if pre_tokenizer is not None:
            raise phiworker.WorkerError(
                "pre_tokenizer has no effect on a SentencePiece vocabulary",
                hint="leave out pre_tokenizer",
                code="PHI203",
            )
        base.set_vocab(self)

    def get_vocab_base_pre(self: Any, tokenizer: Any) -> str:
        if pre_tokenizer is not None:
            return pre_tokenizer
        try:
            return str(base.get_vocab_base_pre(self, tokenizer))
        except NotImplementedError:
            return vocabulary.pre_tokenizer(model)

    own = (index_tensors, set_vocab, get_vocab_base_pre)
    members = {function.__name__: function for function in own}
    return type("Converter", (base,), {"model_arch": base.model_arch, **members})


def keep_original_context(converter: Any, model: Path) -> None:
    """If rope_scaling of a PhiMoE lacks the original context, transformers uses
    max_position_embeddings instead, and the scale of attention would be 1."""
    context = vocabulary.read_json(model / "config.json").get("original_max_position_embeddings")
    if context is not None:
        converter.rope_parameters["original_max_position_embeddings"] = context


def special_tokens_of_tokenizer(base: Any) -> Any:
    """SpecialVocab without the ids in config.json, which are not the tokenizer's, and with an
    explicit default: a tokenizer.json that does not add tokens around a text means none. Files
    saved by transformers 5 say so nowhere else, and llama.cpp would put a token before the text of
    SentencePiece models."""

    def load(self: Any, path: Path) -> None:
        base._load(self, path)
        if (path / "tokenizer.json").is_file():
            self.add_special_token.setdefault("bos", False)
            self.add_special_token.setdefault("eos", False)

    def load_ids(self: Any, path: Path) -> bool:
        return False

    members = {"_load": load, "_try_load_from_config_json": load_ids}
    return type("SpecialVocab", (base,), members)


if __name__ == "__main__":
    phiworker.run(main)
