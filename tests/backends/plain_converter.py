"""llama.cpp's own converter and our worker, one after the other in a process that imports torch
once.

Runs under the gguf toolchain's interpreter: `plain_converter.py TOOL < cases`, each case a line of
JSON. One with a "name" is converted with nothing of the converter changed but its guess of the
pre-tokenizer, which knows published vocabularies only. Another goes to the worker.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def main(tool: str) -> None:
    sys.path[1:1] = [f"{tool}/python", str(ROOT / "phibuild/worker")]
    package = ModuleType("phibuild_gguf")  # as a worker sees it: its `__init__.py` imports phibuild
    package.__path__ = [str(ROOT / "plugins/phibuild_gguf")]
    sys.modules[package.__name__] = package
    import conversion  # puts its own gguf before the one in the toolchain
    import gguf

    assert Path(gguf.__file__).is_relative_to(tool), conversion
    special_vocab = gguf.SpecialVocab
    for line in sys.stdin:
        case = json.loads(line)
        gguf.SpecialVocab = special_vocab
        model, output = Path(case["model"]), Path(case["output"])
        if "name" in case:
            convert(model, output, case["name"], case["pre_tokenizer"])
        else:
            work(model, output, Path(tool))


def convert(model: Path, output: Path, name: str, pre_tokenizer: str) -> None:
    import conversion
    import gguf

    hparams = conversion.ModelBase.load_hparams(model, False)
    base: Any = conversion.get_model_class(hparams["architectures"][0])
    members = {"model_arch": base.model_arch, "get_vocab_base_pre": lambda *_: pre_tokenizer}
    converter = type("Converter", (base,), members)
    converter(model, gguf.LlamaFileType.GUESSED, output, model_name=name).write()


def work(model: Path, output: Path, tool: Path) -> None:
    import phiworker
    from phibuild_gguf.metadata import worker_vocabulary

    job = phiworker.Job(
        name="gguf.vocabulary",
        inputs={"model": model},
        output=output,
        recipe={"pre_tokenizer": None},
        tools={"llama.cpp": tool},
        scratch=output.parent,
        threads=1,
        identity="",
        tensors=(),
    )
    worker_vocabulary.main(job)


if __name__ == "__main__":
    main(sys.argv[1])
