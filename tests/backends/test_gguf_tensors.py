"""Tensors of our GGUF files are those of convert_hf_to_gguf.py and llama-quantize, bit for bit, and
an edit quantizes the tensors that it touched.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from phibuild_gguf.actions import plan
from phibuild_gguf.format.file_types import DEFAULT_TYPES, FLOATS, NEED_IMATRIX
from phibuild_gguf.format.header import read_header
from phibuild_gguf.format.values import head, read_values, string, strings, uint32
from phibuild_gguf.recipe import GgufRecipe

import phibuild.worker
from phibuild.api import Action, FileInput, ModelFacts, parse_recipe
from phibuild.engine.building.realize import realize_tool
from phibuild.engine.workshop import Workshop
from phibuild.model.action import SLICES
from phibuild.source import lay_out, tensor_places
from phibuild.testing._checkpoints.families import Size, tensor_specs
from phibuild.testing._checkpoints.shards import WritableTensor, write_shards
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends import plain_converter

pytestmark = pytest.mark.toolchain
QUANTIZED = sorted(set(DEFAULT_TYPES) - set(FLOATS))
NARROW = "rows of 320"
LAYERS = {"phi-3.5": 9, NARROW: 2}  # mixtures depend on the number of the layer
SLOW = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS")
SOURCES = ("phi-2", "phi-3", "phi-3.5", "phi-4-mini", "phi-3.5-moe", NARROW)

# Ours and theirs


@dataclasses.dataclass(frozen=True)
class SampleModel:
    """A checkpoint as a worker sees it, the plain converter's file of it, and an imatrix."""

    view: Path
    plain: Path
    imatrix: Path
    tensors: list[list[Any]]


@pytest.fixture(scope="module")
def tool() -> Path:
    return realize_tool(Workshop.open(), "llama.cpp")


@pytest.fixture(scope="module")
def models(tool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleModel]:
    shop, models, lines = Workshop.open(), {}, []
    for number, name in enumerate(SOURCES):
        folder = tmp_path_factory.mktemp(f"m{number}")
        family = FAMILIES["phi-3" if name == NARROW else name]
        checkpoint = write_checkpoint(folder / "checkpoint", family, layers=LAYERS.get(name, 1))
        if name == NARROW:
            narrow(checkpoint)
        view = folder / "view" / "model"
        view.parent.mkdir()
        lay_out(shop.sources.checkpoint(checkpoint), SLICES, view)
        tensors = tensor_places(shop.sources.checkpoint(checkpoint), view)
        models[name] = SampleModel(view, folder / "plain.gguf", folder / "imatrix.gguf", tensors)
        lines.append(
            {
                "model": str(view),
                "output": str(models[name].plain),
                "name": "Phi",
                "pre_tokenizer": {"phi-2": "gpt-2", "phi-4-mini": "gpt-4o"}.get(name, ""),
            }
        )
    subprocess.run(
        [shop.toolchains.python_of("gguf"), plain_converter.__file__, tool],
        input="\n".join(map(json.dumps, lines)),
        text=True,
        capture_output=True,
        check=True,
    )
    for model in models.values():
        write_imatrix(model)
    return models


def narrow(checkpoint: Path) -> None:
    """Rows that k-quants do not fit: 320 weights, of a model with five heads."""
    size = object.__new__(Size)
    for name, value in (("hidden", 320), ("layers", LAYERS[NARROW]), ("vocab", 1056)):
        object.__setattr__(size, name, value)
    numbers = random.Random(0)

    def content(shape: tuple[int, ...]) -> Iterator[bytes]:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = (numbers.gauss(0, 0.05) for _ in range(count))
        yield b"".join(struct.pack("<f", value)[2:] for value in values)

    write_shards(
        checkpoint,
        [
            WritableTensor(spec.name, "BF16", spec.shape, lambda shape=spec.shape: content(shape))
            for spec in tensor_specs(FAMILIES["phi-3"], size)
        ],
        1,
    )
    path = checkpoint / "config.json"
    heads = {"num_attention_heads": 5, "num_key_value_heads": 5}
    widths = {"hidden_size": 320, "intermediate_size": 640}
    path.write_text(json.dumps(json.loads(path.read_text()) | heads | widths))


def write_imatrix(model: SampleModel) -> None:
    """Random importances of every matrix but the embedding; some experts were never used."""
    numbers, infos, data = random.Random(1), [], b""
    for info in read_header(model.plain).tensors:
        left_out = ("_norm.weight", "gate_inp.weight", "token_embd.weight", ".bias")
        if len(info.shape) < 2 or info.name.endswith(left_out):
            continue
        experts = info.shape[2] if len(info.shape) > 2 else 1
        sums = [numbers.random() * 3 + 0.01 for _ in range(info.shape[0] * experts)]
        counts = [numbers.choice((0.0, 7.0, 33.0)) if experts > 1 else 32.0 for _ in range(experts)]
        for suffix, columns, values in ((".in_sum2", info.shape[0], sums), (".counts", 1, counts)):
            name = (info.name + suffix).encode()
            infos.append(
                struct.pack("<Q", len(name))
                + name
                + struct.pack("<IQQIQ", 2, columns, experts, 0, len(data))
            )
            data += struct.pack(f"<{len(values)}f", *values)
            data += bytes(-len(data) % 32)
    values = {
        "general.type": string("imatrix"),
        "imatrix.datasets": strings(["text.txt"]),
        "imatrix.chunk_count": uint32(5),
        "imatrix.chunk_size": uint32(64),
    }
    start = head(values, tensors=len(infos)) + b"".join(infos)
    model.imatrix.write_bytes(start + bytes(-len(start) % 32) + data)


Writer = Callable[..., Path]


@pytest.fixture
def write(tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Run the worker on a model, with the metadata of the plain conversion."""
    monkeypatch.syspath_prepend(str(Path(phibuild.worker.__file__).parent))
    worker = importlib.import_module("phibuild_gguf.writing.worker_write")

    def run(model: SampleModel, *, imatrix: bool = False, threads: int = 2, **fields: Any) -> Path:
        extras = {"imatrix": FileInput(str(model.imatrix))} if imatrix else {}
        action = plan(parse_recipe(GgufRecipe, fields, builder="GGUF"), ModelFacts({}, ()), extras)
        assert isinstance(action, Action)
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        for left in scratch.iterdir():
            left.unlink()
        inputs = {"model": model.view, "metadata": without_types(model.plain, tmp_path)}
        inputs |= {"imatrix": model.imatrix} if imatrix else {}
        phiworker = worker.phiworker
        tensors = (
            phiworker.StoredTensor(name, kind, tuple(shape), digest, Path(path), offset, size)
            for name, kind, shape, digest, path, offset, size in model.tensors
        )
        job = phiworker.Job(
            name=action.name,
            inputs=inputs,
            output=tmp_path / "ours.gguf",
            recipe={name: json.loads(value) for name, value in action.recipe},
            tools={"llama.cpp": tool},
            scratch=scratch,
            threads=threads,
            identity="",
            tensors=tuple(tensors),
        )
        worker.main([job])
        return job.output

    return run


def without_types(plain: Path, folder: Path) -> Path:
    """The result of the metadata action: no tensors, and no keys that depend on their types."""
    values = read_values(plain, read_header(plain))
    for key in ("general.file_type", "general.quantization_version"):
        del values[key]
    (folder / "metadata.gguf").write_bytes(head(values))
    return folder / "metadata.gguf"


def contents(path: Path) -> list[tuple[object, ...]]:
    """Name, type, shape and digest of each tensor, in order."""
    header, content = read_header(path), path.read_bytes()
    return [
        (info.name, info.type.name, info.shape, hashlib.sha256(content[begin : begin + info.size]))
        for info in header.tensors
        for begin in [header.data + info.offset]
    ]


def same(ours: Path, theirs: Path) -> None:
    """The same tensors and, except the padding, the same metadata, in the same order."""
    mine, plain = (
        [(*tensor[:3], tensor[3].hexdigest()) for tensor in contents(path)]  # type: ignore[attr-defined]
        for path in (ours, theirs)
    )
    assert mine == plain
    keys, plain_keys = (read_values(path, read_header(path)) for path in (ours, theirs))
    del keys["phibuild.padding"]
    assert list(keys.items()) == list(plain_keys.items())
    assert read_header(ours).data % 65536 == 0


def quantized_file(
    tool: Path, model: SampleModel, file_type: str, *options: str, folder: Path
) -> Path:
    """llama-quantize's result for the plain conversion."""
    theirs = folder / "theirs.gguf"
    command = [tool / "bin/llama-quantize", *options, model.plain, theirs, file_type]
    ran = subprocess.run(
        command, cwd=model.imatrix.parent, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return theirs


@pytest.mark.parametrize("name", SOURCES)
def test_an_unquantized_file_equals_the_converters(
    models: dict[str, SampleModel], write: Writer, name: str
) -> None:
    file_type = "F16" if name == "phi-2" else "BF16"
    same(write(models[name], quant=file_type), models[name].plain)


def quantizations() -> Iterator[Any]:
    """Model, file type and whether with an imatrix: all that are not refused. Some slow ones of the
    mixture of experts, which show nothing that the others do not, are left out."""
    for name in ("phi-3", "phi-3.5-moe", NARROW):
        for file_type in QUANTIZED:
            is_refused = (name == NARROW and file_type == "Q1_0") or (
                file_type == "MXFP4_MOE" and name != "phi-3.5-moe"
            )
            is_long = name == "phi-3.5-moe" and file_type in SLOW and file_type != "IQ2_XS"
            for imatrix in (False, True):
                if not is_refused and not is_long and (imatrix or file_type not in NEED_IMATRIX):
                    id_ = f"{name}-{file_type}-{'imatrix' if imatrix else ''}"
                    yield pytest.param(name, file_type, imatrix, id=id_)


@pytest.mark.parametrize(("name", "file_type", "imatrix"), [*quantizations()])
def test_a_quantized_file_equals_llama_quantizes(
    models: dict[str, SampleModel],
    tool: Path,
    write: Writer,
    tmp_path: Path,
    name: str,
    file_type: str,
    imatrix: bool,
) -> None:
    model = models[name]
    options = ["--imatrix", "imatrix.gguf"] if imatrix else []
    theirs = quantized_file(tool, model, file_type, *options, folder=tmp_path)
    same(write(model, quant=file_type, imatrix=imatrix), theirs)


FIELDS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("phi-2", {}, []),
    ("phi-3.5", {}, []),
    ("phi-4-mini", {}, []),
    ("phi-3", {"pure": True}, ["--pure"]),
    ("phi-3", {"leave_output_tensor": True}, ["--leave-output-tensor"]),
    (
        "phi-3",
        {"overrides": {"ffn_down": "f16", "qkv": "f32"}},
        ["--tensor-type", "ffn_down=f16", "--tensor-type", "qkv=f32"],
    ),
    ("phi-4-mini", {"token_embedding_type": "q4_0"}, ["--token-embedding-type", "q4_0"]),
    ("phi-4-mini", {"output_tensor_type": "q5_0"}, ["--output-tensor-type", "q5_0"]),
    ("phi-3", {"exclude_weights": ["ffn_down"]}, ["--exclude-weights", "ffn_down"]),
    ("phi-3", {"include_weights": ["ffn_down"]}, ["--include-weights", "ffn_down"]),
]


@pytest.mark.parametrize(("name", "fields", "options"), FIELDS)
def test_the_fields_of_a_recipe_act_as_llama_quantizes_options(
    models: dict[str, SampleModel],
    tool: Path,
    write: Writer,
    tmp_path: Path,
    name: str,
    fields: dict[str, Any],
    options: list[str],
) -> None:
    imatrix = any("_weights" in field for field in fields)
    options = [*options, *(["--imatrix", "imatrix.gguf"] if imatrix else [])]
    theirs = quantized_file(tool, models[name], "Q4_K_M", *options, folder=tmp_path)
    same(write(models[name], quant="Q4_K_M", imatrix=imatrix, **fields), theirs)


def test_the_number_of_threads_changes_no_byte(
    models: dict[str, SampleModel], write: Writer
) -> None:
    with_one, with_five = (
        write(models["phi-3.5-moe"], quant="Q4_K_M", threads=threads).read_bytes()
        for threads in (1, 5)
    )
    assert with_one == with_five
