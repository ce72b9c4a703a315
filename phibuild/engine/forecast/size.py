"""How large an artifact will be, before it is made: for `phibuild plan`."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from phibuild.engine.building.costs import expected_cost, input_size
from phibuild.engine.building.realize import realize_step
from phibuild.engine.declaration import CURRENT, Conversion, Declaration, model_facts
from phibuild.engine.forecast.state import missing_source
from phibuild.engine.keys import known_result
from phibuild.engine.workshop import Workshop
from phibuild.model.action import HOST, OWN, Assembly, Step, step_of, steps_of, taken_of
from phibuild.model.errors import PhiError
from phibuild.source import Checkpoint
from phibuild.store import ActionResult


class Size(NamedTuple):
    """Bytes that an artifact has, or is expected to have; `is_most` for a limit that it keeps."""

    bytes: int
    is_exact: bool
    is_most: bool = False

    @property
    def word(self) -> str:
        """What people are told before the number."""
        return "" if self.is_exact else "at most " if self.is_most else "about "


def expected_size(shop: Workshop, declaration: Declaration) -> Size | None:
    """What the artifact will weigh: by its result, if that is known; as its backend tells, if that
    can be had without installing anything; by the limit in its recipe; by the last run of its
    actions; from the shapes of the tensors. None if nothing tells it, or what it is made of is not
    there. PackagingError PHI701 for a limit that it cannot keep."""
    if missing_source(shop, declaration) is not None:
        return None
    checkpoint = shop.checkpoint(declaration.model.folder) if declaration.model else None
    step = declaration.action(model_facts(checkpoint))
    result = _result(shop, step, checkpoint)
    if result is not None:
        return Size(result.tree.size, is_exact=True)
    what = declaration.what
    if isinstance(what, Conversion) and checkpoint is not None:
        told = _told(shop, what, checkpoint, declaration.name)
        if told is not None:
            return Size(told, is_exact=True)
        most = what.backend.most_bytes(what.recipe)
        if most is not None:
            return Size(most, is_exact=False, is_most=True)
    made = _made_bytes(shop, step, checkpoint)
    if made is not None:
        return Size(made, is_exact=False)
    if isinstance(what, Conversion) and checkpoint is not None and what.backend.bits_per_weight:
        bits = what.backend.bits_per_weight(what.recipe)
        return Size(math.ceil(checkpoint.parameters * bits / 8), is_exact=False)
    return None


def _told(shop: Workshop, what: Conversion, checkpoint: Checkpoint, name: str) -> int | None:
    """What the backend's prediction says, unless it needs something that is not there yet, or
    weights that were not read yet."""
    if what.backend.predict is None:
        return None
    step = what.backend.predict(what.recipe, model_facts(checkpoint), what.extras)
    try:
        for one in steps_of(step):
            if _result(shop, one, checkpoint) is None:
                if "weights" in one.slices or not _has_toolchains(shop, one):
                    return None
                realize_step(shop, one, checkpoint, name)
        entry = realize_step(shop, step, checkpoint, name).tree.entries[0]
    except PhiError as error:
        if error.code == "PHI701":
            raise
        return None  # the build will tell, if it is still so then
    return int(json.loads(shop.store.object_path(entry).read_text("utf-8"))["bytes"])


def _has_toolchains(shop: Workshop, step: Step) -> bool:
    is_ours = step.toolchain not in (HOST, OWN) and not step.toolchain.startswith(CURRENT)
    if is_ours and not shop.interpreters.is_installed(shop.python_toolchain(step.toolchain)):
        return False
    return all(_result(shop, shop.native_build(tool), None) is not None for tool in step.tools)


def _made_bytes(shop: Workshop, step: Step, checkpoint: Checkpoint | None) -> int | None:
    """Bytes of what a step makes, by its result or by the last one of its recipe."""
    result = _result(shop, step, checkpoint)
    if result is not None:
        return result.tree.size
    if not isinstance(step, Assembly):
        cost = expected_cost(shop, step, input_size(step, checkpoint, {}))
        return cost.made_bytes if cost is not None else None
    total = 0
    unknown: set[Step] = set()
    for _, one in step.inputs:
        needed = step_of(one)
        result = _result(shop, needed, checkpoint) if needed is not None else None
        if result is not None:
            total += taken_of(one, result.tree).size
        elif needed is not None and needed not in unknown:
            unknown.add(needed)  # of its parts it is only known what they are together
            made = _made_bytes(shop, needed, checkpoint)
            if made is None:
                return None
            total += made
    return total


def _result(shop: Workshop, step: Step, checkpoint: Checkpoint | None) -> ActionResult | None:
    known = known_result(shop, step, checkpoint)
    return known[1] if known is not None else None
