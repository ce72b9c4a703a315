"""Results to collect, for tests of collection."""

from __future__ import annotations

import os
import time
from pathlib import Path

from phibuild.model.digest import Digest
from phibuild.model.facts import Fact
from phibuild.model.manifest import Manifest
from phibuild.store import ActionResult, Store, place_artifact
from phibuild.store.collection import Plan, carry_out, plan_collection

LONG_AGO = time.time() - 100 * 86400
KILOBYTE = 1000


def a_result(store: Store, name: str, *, kilobytes: int = 1, inputs: tuple[Digest, ...] = ()):
    """A result of that name that was not used for long."""
    key = Digest.of(name.encode())
    with store.workspace() as folder:
        (folder / "made").write_bytes((name.encode() * KILOBYTE)[: KILOBYTE * kilobytes])
        with (folder / "made").open("ab") as stream:
            stream.write(os.urandom(KILOBYTE) * (kilobytes - 1))
        tree = store.put(folder / "made")
    named = tuple((str(number), source) for number, source in enumerate(inputs))
    facts = (Fact("weights", str(Digest.of(f"slice of {name}".encode()))),)
    result = ActionResult(key, name, facts, named, tree, 1.0, 1, "2026", "test")
    store.record(result)
    unused(store, key)
    return result


def unused(store: Store, key: Digest) -> None:
    os.utime(store.result_path(key), (LONG_AGO, LONG_AGO))


def a_plan(store: Store, *, keep: int | None = None) -> Plan:
    """Everything that was not used in the last days goes. This process uses nothing any more."""
    store.lease.release()
    return plan_collection(store, keep=keep, since=0.0 if keep else time.time() - 86400)


def collect(store: Store, *, keep: int | None = None) -> int:
    return carry_out(store, a_plan(store, keep=keep)).bytes


def objects(store: Store) -> set[str]:
    return {path.name for path in (store.root / "objects").rglob("*") if path.is_file()}


def place(store: Store, result: ActionResult, target: Path) -> None:
    place_artifact(store, result.tree, target, known=None)
    manifest = Manifest(target.name, "test", result.key, 0, result.tree)
    Path(f"{target}.phi.json").write_text(manifest.to_text())
