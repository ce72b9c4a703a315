"""ONNX: the cost of an edit; weights and sidecar together equal the builder's own output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from tests.backends.slices import (
    FAMILY,
    EditHistory,
    EditTable,
    artifact_of,
    build_families,
    files_of,
    run_toolkit,
    same_tokenizer,
)

pytestmark = pytest.mark.toolchain


BY_HAND = """
import sys
from importlib import import_module
import_module("onnxruntime_genai.models")
builder = import_module("builder")
for source, out in zip(sys.argv[1::2], sys.argv[2::2]):
    positional = ("", source, out, "int4", "cpu", out + "-cache")
    options = builder.parse_extra_options(*positional, [])
    config = options["hf_details"]["hf_config"]
    if hasattr(config, "layer_norm_eps"):
        config.rms_norm_eps = config.layer_norm_eps
    builder.create_model(*positional, **options)
"""


class TestOnnxSlices(EditTable):
    backend = "onnx"
    shown_in: ClassVar = {
        "chat template": {"chat_template.jinja"},
        "ends of text": {"genai_config.json"},
        "ids of config.json": set(),  # generation_config.json has them too, and takes precedence
        "sampling": {"genai_config.json"},
        "no generation_config.json": {"genai_config.json"},
        "added token": {"tokenizer.json"},
        "merges": {"tokenizer.json"},
        "tokenizer respelt": set(),
        "one tensor": {"model.onnx.data"},
    }

    def test_an_artifact_equals_the_builders_own_output(
        self, edited: EditHistory, tmp_path: Path
    ) -> None:
        """The builder runs as by its command line, except for the epsilon in the
        norms of Phi-2, which it does not read from config.json."""
        project = build_families("onnx", tmp_path, ["phi-2"])
        artifacts = {FAMILY: edited.artifact, "phi-2": artifact_of(project, "onnx", "phi-2")}
        sources = {FAMILY: edited.source, "phi-2": tmp_path / "phi-2"}
        by_hand = {family: tmp_path / f"{family}-by-hand" for family in artifacts}
        run_toolkit(
            "onnx", BY_HAND, *(path for f in artifacts for path in (sources[f], by_hand[f]))
        )
        for family, artifact in artifacts.items():
            ours, theirs = files_of(artifact), files_of(by_hand[family])
            assert ours.keys() == theirs.keys()
            for name in ours.keys() & {"model.onnx", "model.onnx.data", "chat_template.jinja"}:
                assert ours[name].read_bytes() == theirs[name].read_bytes(), (family, name)
            for name in ("genai_config.json", "tokenizer_config.json"):
                assert json.loads(ours[name].read_bytes()) == json.loads(theirs[name].read_bytes())
            assert same_tokenizer(ours["tokenizer.json"], theirs["tokenizer.json"])
