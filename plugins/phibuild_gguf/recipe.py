"""The recipes of `env.GGUF`, `env.Imatrix` and `env.LlamaCpp`; fields have llama.cpp's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from phibuild.api import PRECISIONS, RecipeError, recipe_field
from phibuild_gguf.format.file_types import ALIASES, FILE_TYPES, OF_PRECISION
from phibuild_gguf.metadata.pre_tokenizers import PRE_TOKENIZERS

OUTTYPES = ("auto", "f16", "bf16", "f32")
MODEL_NAME = "general.name of the file; phi-3 in it changes how llama.cpp reads special tokens"
PRE_TOKENIZER = "how llama.cpp splits text, for byte-level vocabularies that it does not recognise"
OUTTYPE = "type of the unquantized model that is quantized; auto: 16 bits, as in the checkpoint"


@dataclass(frozen=True, slots=True)
class GgufRecipe:
    """How to quantize a checkpoint; exactly one of `precision`, `quant` and `target_bytes` is
    given."""

    outdated: ClassVar[Mapping[str, str]] = {
        "ftype": "quant",
        "qtype": "quant",
        "quantization": "quant",
        "tensor_type": "overrides",
        "tensor_types": "overrides",
        "name": "model_name",
    }

    precision: str | None = recipe_field(
        None, "int4 is Q4_K_M, int8 Q8_0, fp16 F16, fp32 F32", kind="str", choices=PRECISIONS
    )
    quant: str | None = recipe_field(
        None, "file type of llama-quantize", kind="str", choices=FILE_TYPES
    )
    target_bytes: int | None = recipe_field(
        None,
        "maximum size of the file: tensors get the types with the least loss that fit",
        kind="size",
        minimum=1,
    )
    overrides: tuple[tuple[str, str], ...] | None = recipe_field(
        None,
        "tensor name pattern to ggml type, as --tensor-type; the first match counts",
        kind="str_map",
    )
    output_tensor_type: str | None = recipe_field(None, "ggml type of output.weight", kind="str")
    token_embedding_type: str | None = recipe_field(
        None, "ggml type of token_embd.weight", kind="str"
    )
    pure: bool | None = recipe_field(
        None, "no mixture: every tensor gets the file type's own type", kind="bool"
    )
    leave_output_tensor: bool | None = recipe_field(
        None, "leave output.weight unquantized", kind="bool"
    )
    include_weights: tuple[str, ...] | None = recipe_field(
        None, "use the imatrix only for tensors with one of these in their name", kind="strs"
    )
    exclude_weights: tuple[str, ...] | None = recipe_field(
        None, "do not use the imatrix for tensors with one of these in their name", kind="strs"
    )
    split_max_size: int | None = recipe_field(
        None,
        "write a folder of files of at most this size; a file stays when nothing in it changes",
        kind="size",
        minimum=1,
    )
    outtype: str | None = recipe_field(None, OUTTYPE, kind="str", choices=OUTTYPES)
    model_name: str | None = recipe_field(None, MODEL_NAME, kind="str")
    pre_tokenizer: str | None = recipe_field(
        None, PRE_TOKENIZER, kind="str", choices=PRE_TOKENIZERS
    )

    @property
    def file_type(self) -> str:
        """The file type of precision or quant; empty if neither is given."""
        name = OF_PRECISION.get(self.precision or "") or self.quant or ""
        return ALIASES.get(name, name)


@dataclass(frozen=True, slots=True)
class ImatrixRecipe:
    """How to run a model for its importance matrix; unquantized by default."""

    outdated: ClassVar[Mapping[str, str]] = {
        "ctx": "ctx_size",
        "n_ctx": "ctx_size",
        "n_chunks": "chunks",
        "chunk": "from_chunk",
        "output_weight": "process_output",
    }

    precision: str | None = recipe_field(
        None,
        "run the model quantized: faster, with less memory",
        kind="str",
        choices=PRECISIONS,
    )
    quant: str | None = recipe_field(
        None, "the same, as a file type of llama-quantize", kind="str", choices=FILE_TYPES
    )
    ctx_size: int = recipe_field(512, "tokens in one chunk", kind="int", minimum=8, maximum=131072)
    chunks: int | None = recipe_field(None, "how many; all by default", kind="int", minimum=1)
    from_chunk: int = recipe_field(0, "how many chunks to skip first", kind="int", minimum=0)
    process_output: bool = recipe_field(
        False, "include output.weight, which rarely improves quality", kind="bool"
    )
    parse_special: bool = recipe_field(
        False, "read special tokens in the text as such, for chats", kind="bool"
    )
    outtype: str | None = recipe_field(None, OUTTYPE, kind="str", choices=OUTTYPES)
    model_name: str | None = recipe_field(None, MODEL_NAME, kind="str")
    pre_tokenizer: str | None = recipe_field(
        None, PRE_TOKENIZER, kind="str", choices=PRE_TOKENIZERS
    )

    @property
    def file_type(self) -> str:
        """The file type of the model to run; empty for the unquantized one."""
        name = OF_PRECISION.get(self.precision or "") or self.quant or ""
        return ALIASES.get(name, name)


DEVICE_PROGRAMS = ("llama-completion", "llama-imatrix", "llama-quantize")


@dataclass(frozen=True, slots=True)
class LlamaCppRecipe:
    """The programs of llama.cpp for a device that runs Linux."""

    outdated: ClassVar[Mapping[str, str]] = {"compiler": "triplet", "target": "triplet"}

    triplet: str = recipe_field(
        "aarch64-linux-gnu",
        "the device as its GNU compilers are named: TRIPLET-gcc and TRIPLET-g++",
        kind="str",
    )
    programs: tuple[str, ...] = recipe_field(
        ("llama-completion",),
        "programs in the folder",
        kind="strs",
        choices=DEVICE_PROGRAMS,
    )
    flags: tuple[str, ...] = recipe_field(
        (), "further options for CMake, such as -DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod", kind="strs"
    )

    def __post_init__(self) -> None:
        """RecipeError PHI202 for a machine that does not run Linux, or no programs."""
        if not re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)?-linux-[a-z0-9_]+", self.triplet):
            raise RecipeError(
                f"LlamaCpp: triplet={self.triplet!r} does not name a machine with Linux",
                hint="use one such as aarch64-linux-gnu or riscv64-linux-gnu",
                code="PHI202",
            )
        if not self.programs:
            raise RecipeError(
                "LlamaCpp: programs is empty",
                hint=f"possible are {', '.join(DEVICE_PROGRAMS)}",
                code="PHI202",
            )
