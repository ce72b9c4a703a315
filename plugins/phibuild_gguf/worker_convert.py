"""Converts a checkpoint with llama.cpp's own converter; runs under the gguf toolchain.

Nothing of the converter is changed. A subclass of its class for the model supplies what it takes
from a folder's name, from the spread of tensors over shards, or from a list of known tokenizers.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import phiworker

if TYPE_CHECKING:
    from phibuild_gguf import vocabulary
else:
    import vocabulary


def main(job: phiworker.Job) -> None:
    model = job.inputs["model"]
    name = vocabulary.model_name(model, job.recipe["model_name"])
    job.progress(None, "import torch and transformers")
    logging.basicConfig(level=logging.INFO)
    sys.path.insert(1, str(job.tools["llama.cpp"] / "python"))
    import conversion
    import gguf
    import numpy as np
    import torch

    torch.set_num_threads(job.threads)
    outtype = {
        "auto": gguf.LlamaFileType.GUESSED,
        "f16": gguf.LlamaFileType.MOSTLY_F16,
        "bf16": gguf.LlamaFileType.MOSTLY_BF16,
        "f32": gguf.LlamaFileType.ALL_F32,
    }[job.recipe["outtype"]]
    gguf.SpecialVocab = nothing_added_unasked(gguf.SpecialVocab)
    job.progress(None, "read the checkpoint")
    try:
        with torch.inference_mode(), np.errstate(over="raise"):
            architecture = conversion.get_model_architecture(
                conversion.ModelBase.load_hparams(model, False), conversion.ModelType.TEXT
            )
            converter = converter_class(
                conversion.get_model_class(architecture), model, job.recipe["pre_tokenizer"]
            )(model, outtype, job.output, model_name=name)
            keep_original_context(converter, model)
            writing = Writing(job, converter)
            writing.follow()
            converter.write()
    except FloatingPointError:
        raise phiworker.WorkerError(
            f"{writing.tensor} has weights that are too large for F16",
            hint='write outtype="bf16"; for an unquantized file, quant="BF16"',
            code="PHI203",
        ) from None
    except (AssertionError, KeyError, NotImplementedError, ValueError) as error:
        traceback.print_exc()
        raise phiworker.WorkerError(
            f"llama.cpp's converter refuses the checkpoint: {error or type(error).__name__}",
            hint="the log has the place; another copy of the checkpoint may be complete",
        ) from error


def converter_class(base: Any, model: Path, pre_tokenizer: str | None) -> Any:
    """The converter's class for the model, less what it takes from surroundings."""

    def index_tensors(self: Any, remote_hf_model_id: str | None = None) -> dict[str, Any]:
        # By name, as within one file: the order of a checkpoint that has one file only.
        found = base.index_tensors(self, remote_hf_model_id=remote_hf_model_id)
        return dict(sorted(found.items()))

    def set_vocab(self: Any) -> None:
        if not vocabulary.is_sentencepiece(model):
            self._set_vocab_gpt2()
            return
        if pre_tokenizer is not None:
            raise phiworker.WorkerError(
                "pre_tokenizer has no effect on a SentencePiece vocabulary",
                hint="leave pre_tokenizer away",
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
    """transformers takes max_position_embeddings for the original context of a PhiMoE whose
    rope_scaling does not repeat it, and the scale of attention then comes out as 1."""
    context = vocabulary.read_json(model / "config.json").get("original_max_position_embeddings")
    if context is not None:
        converter.rope_parameters["original_max_position_embeddings"] = context


def nothing_added_unasked(base: Any) -> Any:
    """SpecialVocab, told what silence means: nothing is put around the text by a tokenizer.json
    that does not say so. llama.cpp puts a token before it in SentencePiece models by default."""

    def load(self: Any, path: Path) -> None:
        base._load(self, path)
        if not self.load_merges and (path / "tokenizer.json").is_file():
            self.add_special_token.setdefault("bos", False)
            self.add_special_token.setdefault("eos", False)

    return type("SpecialVocab", (base,), {"_load": load})


class Writing:
    """Stands in for the progress bar that the converter opens when it begins to write."""

    def __init__(self, job: phiworker.Job, converter: Any) -> None:
        self._job = job
        self._converter = converter
        self._names: list[str] = []
        self._total = 1
        self._done = 0
        self._count = 0

    @property
    def tensor(self) -> str:
        """The tensor that is being written."""
        return self._names[self._count] if self._count < len(self._names) else "the checkpoint"

    def follow(self) -> None:
        import tqdm

        tqdm.tqdm = self._begin

    def _begin(self, *_: Any, total: int | None = None, **__: Any) -> Writing:
        self._names = list(self._converter.gguf_writer.tensors[0])
        self._total = total or 1
        return self

    def update(self, size: int) -> None:
        self._done += size
        self._count += 1
        text = f"tensor {self._count} of {len(self._names)}"
        self._job.progress(self._done / self._total, text)


if __name__ == "__main__":
    phiworker.run(main)
