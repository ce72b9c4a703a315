"""What a config.json leaves out is written out with the family's default, so that no toolkit uses
another one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from phibuild.engine.workshop import Workshop
from phibuild.source import read_checkpoint
from phibuild.source.architecture import canonical_architecture
from phibuild.source.families import FAMILIES as SOURCES
from phibuild.source.families import dimensions, expected_tensors, with_defaults
from phibuild.store import Index
from phibuild.testing._checkpoints.shards import read_tensors, write_shards
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint

TRANSFORMERS = """\
import json, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
answers = []
for fields in json.load(sys.stdin):
    config = AutoConfig.for_model(**fields)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    state = {name: list(t.shape) for name, t in model.state_dict().items() if name not in tied}
    defaults = config.to_dict() | config.rope_parameters
    answers.append([defaults, state])
json.dump(answers, sys.stdout, default=str)
"""


def complete(**fields: Any) -> dict[str, Any]:
    return with_defaults(canonical_architecture(fields))


def test_absent_fields_get_the_familys_defaults() -> None:
    assert complete(model_type="phi")["partial_rotary_factor"] == 0.5
    assert complete(model_type="phi", num_attention_heads=16)["num_key_value_heads"] == 16
    assert complete(model_type="phi3")["rms_norm_eps"] == 1e-5
    assert complete(model_type="phi3")["architectures"] == ["Phi3ForCausalLM"]
    assert complete(model_type="phimoe")["num_key_value_heads"] == 8
    assert complete(model_type="phimoe")["original_max_position_embeddings"] == 131072


def test_null_key_heads_are_as_many_as_heads_and_not_the_default() -> None:
    fields = complete(model_type="phimoe", num_key_value_heads=None, num_attention_heads=16)
    assert fields["num_key_value_heads"] == 16


def test_whole_heads_rotated_are_written_out_where_the_default_is_half() -> None:
    assert complete(model_type="phi", partial_rotary_factor=1.0)["partial_rotary_factor"] == 1.0
    assert "partial_rotary_factor" not in complete(model_type="phi3", partial_rotary_factor=1.0)


def test_fields_that_are_there_are_kept() -> None:
    fields = complete(model_type="phi3", rms_norm_eps=1e-6, tie_word_embeddings=True)
    assert (fields["rms_norm_eps"], fields["tie_word_embeddings"]) == (1e-6, True)


def test_other_model_types_are_unchanged() -> None:
    assert complete(model_type="llama", hidden_size=8) == {"model_type": "llama", "hidden_size": 8}


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (("f32", "f32"), "float32"),
        (("bf16", "bf16"), "bfloat16"),
        (("f16", "f16"), "float16"),
        (("bf16", "f32"), "float32"),
        (("bf16", "f16"), "float32"),
    ],
)
def test_torch_dtype_is_the_one_that_holds_every_weight(
    tmp_path: Path, dtypes: tuple[Any, Any], expected: str
) -> None:
    matrices, norms = (
        read_tensors(write_checkpoint(tmp_path / f"m{n}", FAMILIES["phi-3"], layers=1, dtype=dtype))
        for n, dtype in enumerate(dtypes)
    )
    folder = tmp_path / "m0"
    mixed = [n if len(n.shape) == 1 else m for m, n in zip(matrices, norms, strict=True)]
    write_shards(folder, mixed, 1)
    for said in ("bfloat16", "float32", None):
        fields = json.loads((folder / "config.json").read_text()) | {"torch_dtype": said}
        (folder / "config.json").write_text(json.dumps(fields))
        checkpoint = read_checkpoint(folder, Index(tmp_path / "index.sqlite"))
        assert checkpoint.documents.architecture["torch_dtype"] == expected


@pytest.mark.toolchain
def test_defaults_and_tensors_are_those_of_transformers() -> None:
    """The pinned transformers itself says which tensors its classes have."""
    small = {
        "hidden_size": 96,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 70,
        "pad_token_id": None,
    }
    variants: list[dict[str, Any]] = [
        {"model_type": "phi"},
        {"model_type": "phi", "qk_layernorm": True},
        {"model_type": "phi", "tie_word_embeddings": True},
        {"model_type": "phi3"},
        {"model_type": "phi3", "tie_word_embeddings": True, "head_dim": 32},
    ]
    configs: list[dict[str, Any]] = [small | variant for variant in variants]
    configs += [{"model_type": name, "vocab_size": 64, "pad_token_id": None} for name in SOURCES]
    answers = json.loads(of_transformers(json.dumps(configs)))
    for given, (defaults, state) in zip(configs, answers, strict=True):
        fields = complete(**given)
        for name, value in SOURCES[given["model_type"]].defaults.items():
            assert defaults[name] == given.get(name, value), name
        family = SOURCES[given["model_type"]]
        implied = {t.name: list(t.shape) for t in expected_tensors(family, dimensions(fields))}
        if given["model_type"] != "phimoe":  # whose experts transformers 5 joins while it loads
            assert implied == state


def of_transformers(configs: str) -> str:
    shop = Workshop.open()
    python = shop.toolchains.python_of("onnx")
    done = subprocess.run(
        [python, "-c", TRANSFORMERS], input=configs, capture_output=True, text=True, check=True
    )
    return done.stdout
