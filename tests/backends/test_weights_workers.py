"""Each worker fails if its toolkit reports a weight that is missing, unexpected or misshaped.

The workers get unchecked views: they do not rely on earlier checks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from phibuild.engine.keys import identity
from phibuild.engine.workers.code_folder import code_folder
from phibuild.engine.workshop import Workshop
from phibuild.executors import Request, WorkOrder, run_worker
from phibuild.model.action import Action, steps_of
from phibuild.model.errors import PhiError
from phibuild.model.recipe import parse_recipe
from phibuild.offers import ModelFacts
from phibuild.source import read_checkpoint
from phibuild.source.safetensors import read_safetensors_header
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.checkpoint_files import (
    Tensors,
    change_json,
    read_tensors,
    stored,
    write_tensors,
)
from tests.backends.faults.layouts import renamed, rows, with_tensor, without
from tests.plugins.gguf_bytes import gguf

BUILDERS = {
    "gguf": ("GGUF", {"quant": "F16"}),
    "onnx": ("OnnxGenAI", {"precision": "fp32"}),
    "openvino": ("OpenVINO", {"precision": "int8"}),
    "mlx": ("MLX", {"precision": "int4"}),
}
Change = Callable[[Tensors], Tensors | None]

MATRIX = "model.layers.1.self_attn.o_proj.weight"
CHANGES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "missing": (without("1.self_attn.o_proj"), ("layers.1.self_attn.o_proj", "blk.1.attn_output")),
    "no head": (without("lm_head"), ("lm_head", "output.weight")),
    "renamed": (
        renamed(lambda name: name.replace("1.self_attn.o_proj", "1.self_attn.dense_proj")),
        ("1.self_attn.dense_proj",),
    ),
    "unexpected": (
        with_tensor("model.layers.1.self_attn.o_proj.bias", "model.norm.weight"),
        ("layers.1.self_attn.o_proj.bias", "blk.1.attn_output.bias"),
    ),
    "a layer more": (
        with_tensor("model.layers.2.self_attn.o_proj.weight", MATRIX),
        ("layers.2.self_attn.o_proj", "blk.2.attn_output"),
    ),
    "of another shape": (rows(MATRIX, more=8), ("layers.1.self_attn.o_proj", "blk.1.attn_output")),
    "of more rows": (rows("lm_head.weight", more=8), ("lm_head", "output.weight")),
    "of integers": (
        lambda all: all | {MATRIX: stored([[1] * 256] * 256, "I8")},
        ("layers.1.self_attn.o_proj",),
    ),
}


class NullReporter:
    """Ignores a worker's reports, and has no earlier pieces."""

    def on_progress(self, fraction: float | None, text: str) -> None: ...

    def on_recall(self, keys: Sequence[str]) -> Mapping[str, Sequence[object]]:
        return {}

    def on_remember(
        self, number: int, key: str, file: str, offset: int, size: int, sha256: str
    ) -> None: ...

    def on_written(self, number: int, file: str, sha256: str) -> None: ...


class Views:
    """Runs a backend's worker on a view of a model."""

    def __init__(self, folder: Path, backend: str) -> None:
        self.folder = folder
        self.backend = backend
        self.shop = Workshop.open()

    def error(self, change: Change, family: str = "phi-3") -> PhiError:
        """The worker's failure for a checkpoint with this change."""
        view = write_checkpoint(self.folder / "model", FAMILIES[family], layers=2)
        architecture = read_checkpoint(view, self.shop.store.index).documents.architecture
        (view / "config.json").write_text(json.dumps(architecture))
        tensors = read_tensors(view)
        write_tensors(view, change(tensors) or tensors)
        with pytest.raises(PhiError) as caught:
            self.run(view, architecture)
        return caught.value

    def run(self, view: Path, architecture: Mapping[str, object]) -> None:
        action = self.action(ModelFacts(architecture, ()))
        folder = self.folder / "workspace" / "0"
        folder.mkdir(parents=True)
        inputs = {"model": view}
        if self.backend == "gguf":
            inputs["metadata"] = folder / "metadata"
            inputs["metadata"].write_bytes(gguf([], [], 0))
        code = self.shop.toolchains.code.read(action)
        order = WorkOrder(
            requests=[Request(action, inputs, folder)],
            python=self.shop.toolchains.python_of(action.toolchain),
            code=code_folder(self.shop.store, code),
            script=code.script,
            workspace=folder.parent,
            tools={},
            bytecode=self.shop.store.root / "bytecode",
            identity=identity(self.shop.toolchains, action).hex,
            tensors=[
                [span.name, span.dtype, span.shape, "0" * 64, str(path), span.offset, span.size]
                for path in view.glob("*.safetensors")
                for span in read_safetensors_header(path).spans
            ],
        )
        run_worker(order, NullReporter())

    def action(self, model: ModelFacts) -> Action:
        builder, fields = BUILDERS[self.backend]
        offer = self.shop.registry.backend_of_builder(builder)
        recipe = parse_recipe(offer.recipe, fields, builder=builder)
        name = "gguf.write" if self.backend == "gguf" else f"{self.backend}.weights"
        steps = steps_of(offer.plan(recipe, model, {}))
        return next(step for step in steps if isinstance(step, Action) and step.name == name)


@pytest.fixture
def views(tmp_path: Path, request: pytest.FixtureRequest) -> Views:
    backend: str = request.node.callspec.params["backend"]
    return Views(tmp_path, backend)


@pytest.mark.parametrize("backend", [pytest.param("gguf", id="gguf"), *(
    pytest.param(name, marks=pytest.mark.toolchain) for name in ("onnx", "openvino", "mlx")
)])  # fmt: skip
@pytest.mark.parametrize("name", CHANGES)
def test_a_worker_names_the_weight_that_does_not_fit(views: Views, backend: str, name: str) -> None:
    change, tensors = CHANGES[name]
    error = views.error(change)
    assert error.code == "PHI401"
    assert error.hint
    assert any(tensor in error.message for tensor in tensors), error.message


@pytest.mark.parametrize("backend", [pytest.param("gguf", id="gguf"), *(
    pytest.param(name, marks=pytest.mark.toolchain) for name in ("openvino", "mlx")
)])  # fmt: skip
@pytest.mark.parametrize("pattern", [r"1\.\w+\.experts\.3\.w2", r"1\.\w+\.experts\.3\."])
def test_a_worker_names_the_expert_that_is_missing(
    views: Views, backend: str, pattern: str
) -> None:
    error = views.error(without(pattern), "phi-3.5-moe")
    assert error.code == "PHI401"
    assert "expert" in error.message or "exps" in error.message
    assert "1" in error.message


@pytest.mark.parametrize("backend", ["gguf"])
def test_gguf_requires_every_bias_of_phi(views: Views, backend: str) -> None:
    """llama.cpp loads a file without it."""
    error = views.error(without(r"1\.self_attn\.q_proj\.bias"), "phi-2")
    assert "blk.1.attn_q.bias" in error.message


@pytest.mark.parametrize("backend", ["gguf"])
def test_gguf_refuses_a_head_beside_a_tied_embedding(views: Views, backend: str) -> None:
    error = views.error(with_tensor("lm_head.weight", "model.embed_tokens.weight"), "phi-4-mini")
    assert "output.weight" in error.message


@pytest.mark.parametrize("backend", ["gguf"])
def test_gguf_compares_the_layers_with_the_config(views: Views, backend: str) -> None:
    def with_layers(tensors: Tensors) -> None:
        change_json(views.folder / "model" / "config.json", num_hidden_layers=3)

    assert "blk.2." in views.error(with_layers).message
