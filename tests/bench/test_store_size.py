"""The store's size stays under its limit through many edits.

A checkpoint of BENCH_BILLIONS (0.15: 300 MB) in four formats; a tensor and the chat template are
edited in turns.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from phibuild.store import store_root
from phibuild.store.settings import set_limit
from phibuild.store.store import Store, object_name
from phibuild.store.survey import installed_keys, read_result
from phibuild.store.usage import counted_usage
from phibuild.testing.checkpoint_edits import change_tensor, set_chat_template
from phibuild.testing.checkpoints import random_checkpoint
from tests.backends.cases import CALLS, INT4
from tests.conftest import Project

BILLIONS = float(os.environ.get("BENCH_BILLIONS", "0.15"))
EDITS = 30
LIMIT = int(4e9 * BILLIONS)
A_TENSOR = "model.layers.0.self_attn.o_proj.weight"


@pytest.fixture
def store(project: Project) -> Store:
    """The project's own store, with the toolchains of the session's."""
    shared, own = Store(store_root()), Store(Path(project.environment["PHIBUILD_STORE"]))
    (own.root / "toolchains").symlink_to(shared.root / "toolchains")
    results = {path.name: path for path in (shared.root / "results").iterdir()}
    (own.root / "results").mkdir()
    for key in installed_keys(shared.root, results):
        result = read_result(results[key])
        assert result is not None
        shutil.copy(results[key], own.root / "results")
        for entry in result.tree.entries:
            copy = own.object_named(object_name(entry))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(shared.object_path(entry), copy)
    return own


@pytest.mark.bench
@pytest.mark.toolchain
@pytest.mark.timeout(3600)
def test_a_limit_holds_through_thirty_edits(project: Project, store: Store) -> None:
    model = random_checkpoint(project.folder / "tiny", BILLIONS, seed=1)
    calls = [CALLS[name].format(name="m", precision="int4", more=INT4[name]) for name in CALLS]
    project.sconstruct('phi = env.PhiModel("tiny")\n' + "\n".join(calls) + "\n")
    set_limit(store.root, LIMIT)
    sizes = []
    for number in range(EDITS):
        ran = project.scons()
        assert ran.status == 0, ran.text
        sizes.append(counted_usage(store.root))
        if number % 2:
            set_chat_template(model, f"{{{{ messages }}}} {number}")
        else:
            change_tensor(model, A_TENSOR)
    print(
        f"\nbench store of at most {LIMIT / 1e6:.0f} MB, {EDITS} edits in four formats:"
        f" {max(sizes) / 1e6:.0f} MB at most, {sizes[-1] / 1e6:.0f} MB at the end",
        end="",
    )
    assert max(sizes) <= LIMIT
