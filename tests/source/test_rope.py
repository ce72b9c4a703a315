"""Rotary fields are consistent, or refused: toolkits would make different models of them."""

from __future__ import annotations

from typing import Any

import pytest

from phibuild.model.errors import SourceError
from phibuild.source.architecture import canonical_architecture
from phibuild.source.families import dimensions, with_defaults
from phibuild.source.rope import check_rope
from phibuild.testing._checkpoints.configs import config
from phibuild.testing._checkpoints.families import FAMILIES, Size


def check(family: str, scaling: dict[str, Any] | None = None, **changes: Any) -> None:
    fields = config(FAMILIES[family], Size(), "bf16", "published")
    if scaling is not None:
        fields["rope_scaling"] = {**fields["rope_scaling"], **scaling}
    check_rope(dimensions(with_defaults(canonical_architecture(fields | changes))))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_fields_are_consistent(family: str) -> None:
    check(family)


@pytest.mark.parametrize(
    ("family", "scaling", "changes", "named"),
    [
        ("phi-2", None, {"partial_rotary_factor": 0.4}, "partial_rotary_factor 0.4"),
        ("phi-2", None, {"partial_rotary_factor": 1.5}, "partial_rotary_factor 1.5"),
        ("phi-2", None, {"partial_rotary_factor": "0.5"}, "partial_rotary_factor"),
        ("phi-3", None, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "linear"),
        ("phi-3", None, {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "yarn"),
        ("phi-3", None, {"rope_scaling": {"type": ["longrope"]}}, "type"),
        ("phi-3", None, {"rope_scaling": "linear"}, "rope_scaling"),
        ("phi-2", None, {"rope_scaling": {"type": "spiral"}}, "spiral"),
        ("phi-3.5-moe", {"type": "dynamic"}, {}, "dynamic"),
        ("phi-3", None, {"rope_theta": 0}, "rope_theta"),
        ("phi-3", None, {"rope_theta": float("nan")}, "rope_theta"),
        ("phi-3.5", {"type": ["longrope"]}, {}, "rope_scaling"),
        ("phi-3.5", {}, {"original_max_position_embeddings": 1}, "original_max"),
        ("phi-3.5", {"short_factor": [1.0]}, {}, "short_factor"),
        ("phi-3.5", {"long_factor": [0.0] * 32}, {}, "long_factor"),
        ("phi-3.5", {"long_factor": "1"}, {}, "long_factor"),
        ("phi-3.5", {"factor": 2.0}, {}, "factor"),
        ("phi-3.5", {"attention_factor": 1.0}, {}, "attention_factor"),
        ("phi-3.5", {"long_mscale": 1.2}, {}, "long_mscale"),
        ("phi-3.5-moe", {"long_mscale": None}, {}, "long_mscale"),
    ],
)
def test_a_contradiction_is_refused_by_its_field(
    family: str, scaling: dict[str, Any] | None, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(SourceError, match=named) as caught:
        check(family, scaling, **changes)
    assert caught.value.code == "PHI103"
    assert caught.value.hint


def test_phi_has_the_scaling_that_transformers_has() -> None:
    check("phi-2", rope_scaling={"type": "linear", "factor": 2.0})


def test_fields_that_only_repeat_what_follows_are_fine() -> None:
    check("phi-3.5", {"factor": 4.0, "attention_factor": None})


def test_a_field_with_two_values_is_refused() -> None:
    with pytest.raises(SourceError, match="rope_theta twice"):
        check("phi-3", rope_theta=10000.0, rope_parameters={"rope_theta": 500000.0})
