"""Types under a limit of bytes: the choice is optimal, or its distance from the optimum known."""

from __future__ import annotations

import importlib
import itertools
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phibuild_gguf.target_size.allocation import Allocation, Choice, allocate, least_size

import phibuild.worker

Tensors = Sequence[Sequence[Choice]]


@pytest.fixture
def gguf_worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The worker that chooses."""
    monkeypatch.syspath_prepend(str(Path(phibuild.worker.__file__).parent))
    return importlib.import_module("phibuild_gguf.target_size.worker_allocation")


choices = st.builds(Choice, st.integers(0, 40), st.integers(0, 40))
instances = st.lists(st.lists(choices, min_size=1, max_size=4), max_size=5)


def best(tensors: Tensors, room: int) -> tuple[int, int]:
    """The least loss of all choices, and the least size with that loss."""
    every = itertools.product(*tensors)
    sums = [(sum(c.loss for c in chosen), sum(c.size for c in chosen)) for chosen in every]
    return min((loss, size) for loss, size in sums if size <= room)


def a_model(layers: int, seed: int) -> Tensors:
    """Tensors of a model's shapes, with realistic losses, each a little different."""
    bits = {0.0: 16, 2e-5: 8.5, 3e-4: 6.5625, 1.2e-3: 5.5, 5e-3: 4.5, 2e-2: 3.4375, 7e-2: 2.625}
    draw = random.Random(seed)
    shapes = [32064 * 3072] * 2 + [9216 * 3072, 3072 * 3072, 16384 * 3072, 8192 * 3072] * layers
    return [
        [
            Choice(int(weights * width / 8), int(loss * draw.uniform(0.7, 1.4) * 1e15))
            for loss, width in bits.items()
        ]
        for weights in shapes
    ]


@given(instances, st.integers(0, 200))
def test_no_choice_that_fits_loses_less_and_none_that_loses_as_little_is_smaller(
    tensors: Tensors, spare: int
) -> None:
    room = least_size(tensors) + spare
    allocation = allocate(tensors, room)
    assert (allocation.loss, allocation.size) == best(tensors, room)
    assert allocation.least == allocation.loss
    chosen = [each[index] for each, index in zip(tensors, allocation.chosen, strict=True)]
    assert sum(choice.loss for choice in chosen) == allocation.loss
    assert sum(choice.size for choice in chosen) == allocation.size


@given(instances, st.integers(0, 200), st.integers(0, 3))
def test_a_search_that_is_cut_off_states_a_bound_that_holds(
    tensors: Tensors, spare: int, most_states: int
) -> None:
    room = least_size(tensors) + spare
    allocation = allocate(tensors, room, most_states=most_states)
    least, _ = best(tensors, room)
    assert allocation.least <= least <= allocation.loss
    assert allocation.size <= room


@given(instances, st.integers(0, 100), st.integers(0, 100))
def test_more_bytes_never_lose_more(tensors: Tensors, spare: int, more: int) -> None:
    room = least_size(tensors) + spare
    assert allocate(tensors, room + more).loss <= allocate(tensors, room).loss


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no choice fits"):
        allocate([[Choice(3, 0), Choice(2, 1)]], 1)


@pytest.mark.parametrize("share", [0.18, 0.25, 0.3, 0.5])
def test_a_model_of_32_layers_is_solved_exactly(share: float) -> None:
    tensors = a_model(32, seed=1)
    room = int(sum(each[0].size for each in tensors) * share)
    allocation = allocate(tensors, room)
    assert allocation.least == allocation.loss
    assert room * 0.995 < allocation.size <= room


def test_an_allocation_is_one_tensor_each() -> None:
    assert allocate([], 5) == Allocation((), 0, 0, 0)


def test_patterns_name_each_tensor_once(gguf_worker: Any) -> None:
    chosen = {
        f"blk.{layer}.{name}.weight": kind
        for layer in range(12)
        for name, kind in (("ffn_up", "q4_K" if layer % 3 else "q6_K"), ("attn_output", "q8_0"))
    } | {"output.weight": "q6_K", "token_embd.weight": "q4_K"}
    overrides = gguf_worker.as_overrides(chosen)
    for name, kind in chosen.items():
        assert [match for pattern, match in overrides if re.search(pattern, name)] == [kind]
    assert len(overrides) == 5
