"""Both spellings of config.json are one architecture, without what changes no artifact."""

from typing import Any

import pytest

from phibuild.source.architecture import canonical_architecture

PUBLISHED = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "hidden_size": 3072,
    "original_max_position_embeddings": 4096,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.1]},
    "rope_theta": 10000.0,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.38.1",
    "_name_or_path": "Phi-3.5-mini-instruct",
    "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
    "eos_token_id": 32000,
}
NEWER = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "hidden_size": 3072,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 4096,
        "partial_rotary_factor": 1.0,
        "short_factor": [1.0],
        "long_factor": [1.1],
    },
    "dtype": "bfloat16",
    "transformers_version": "5.5.4",
    "eos_token_id": 32000,
}


def test_the_two_spellings_are_equal() -> None:
    assert canonical_architecture(PUBLISHED) == canonical_architecture(NEWER)


def test_the_published_spelling_is_the_canonical_one() -> None:
    fields = canonical_architecture(NEWER)
    assert fields["rope_scaling"]["type"] == "longrope"
    assert fields["rope_theta"] == 10000.0
    assert fields["torch_dtype"] == "bfloat16"
    assert "rope_parameters" not in fields


def test_plain_rope_has_no_scaling() -> None:
    fields = canonical_architecture(
        {"model_type": "phi3", "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    )
    assert fields == {"model_type": "phi3", "rope_theta": 1e4}
    assert fields == canonical_architecture(
        {"model_type": "phi3", "rope_theta": 1e4, "rope_scaling": None}
    )


@pytest.mark.parametrize("field", ["transformers_version", "_name_or_path", "use_cache"])
def test_cosmetic_fields_do_not_matter(field: str) -> None:
    changed: dict[str, Any] = {**PUBLISHED, field: "other"}
    assert canonical_architecture(changed) == canonical_architecture(PUBLISHED)


def test_a_field_that_shapes_the_computation_matters() -> None:
    assert canonical_architecture({**PUBLISHED, "hidden_size": 1}) != canonical_architecture(
        PUBLISHED
    )


def test_the_older_class_name_of_phimoe_is_used() -> None:
    fields = canonical_architecture({"architectures": ["PhimoeForCausalLM"]})
    assert fields["architectures"] == ["PhiMoEForCausalLM"]
