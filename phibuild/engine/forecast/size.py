"""How large an artifact will be: for `phibuild plan`, and for budgets."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from phibuild.engine.building.costs import expected_cost, input_size
from phibuild.engine.building.realize import realize_step
from phibuild.engine.building.tools import is_installed, tool_tree
from phibuild.engine.declaration import CURRENT, Conversion
from phibuild.engine.keys import recall
from phibuild.engine.plans import Plan
from phibuild.engine.workshop import Workshop
from phibuild.model.action import HOST, OWN, Assembly, Step, input_tree, step_of, steps_of
from phibuild.model.errors import PhiError
from phibuild.source import Checkpoint


class Size(NamedTuple):
    """Bytes that an artifact has, or is expected to have; `is_most` for a limit that it keeps."""

    bytes: int
    is_exact: bool
    is_most: bool = False

    @property
    def word(self) -> str:
        """What comes before the number in a text."""
        return "" if self.is_exact else "at most " if self.is_most else "about "


def expected_size(shop: Workshop, plan: Plan) -> Size | None:
    """The size of the artifact: of its result, if that is known; as its backend predicts, if that
    needs no installation; the limit in its recipe; by the last run of its actions; from the shapes
    of the tensors. None if none of these is known. PackagingError PHI701 for a limit that it cannot
    keep."""
    result = recall(shop, plan.step, plan.checkpoint)
    if result is not None:
        return Size(result.tree.size, is_exact=True)
    conversion = plan.declaration.origin
    if isinstance(conversion, Conversion) and plan.checkpoint is not None:
        predicted = _predicted(shop, plan, conversion, plan.checkpoint)
        if predicted is not None:
            return Size(predicted, is_exact=True)
        most = conversion.backend.most_bytes(conversion.recipe)
        if most is not None:
            return Size(most, is_exact=False, is_most=True)
    size = _size_of_result(shop, plan.step, plan.checkpoint)
    if size is not None:
        return Size(size, is_exact=False)
    if isinstance(conversion, Conversion) and plan.checkpoint is not None:
        bits_per_weight = conversion.backend.bits_per_weight
        if bits_per_weight is not None:
            bits = plan.checkpoint.parameters * bits_per_weight(conversion.recipe)
            return Size(math.ceil(bits / 8), is_exact=False)
    return None


def _predicted(
    shop: Workshop, plan: Plan, conversion: Conversion, checkpoint: Checkpoint
) -> int | None:
    """What the backend predicts, unless that needs a toolchain that is not installed, or weights
    that were not read yet."""
    if conversion.backend.predict is None:
        return None
    name = plan.declaration.name
    step = conversion.backend.predict(conversion.recipe, plan.model, conversion.extras)
    try:
        for needed in steps_of(step):
            if recall(shop, needed, checkpoint) is None:
                if "weights" in needed.slices or not _has_toolchains(shop, needed):
                    return None
                realize_step(shop, needed, checkpoint, name)
        entry = realize_step(shop, step, checkpoint, name).tree.entries[0]
    except PhiError as error:
        if error.code == "PHI701":
            raise
        return None  # the build reports it
    return int(json.loads(shop.store.object_path(entry).read_text("utf-8"))["bytes"])


def _has_toolchains(shop: Workshop, step: Step) -> bool:
    needs_packages = step.toolchain not in (HOST, OWN) and not step.toolchain.startswith(CURRENT)
    if needs_packages and not is_installed(shop, step.toolchain):
        return False
    return all(tool_tree(shop, tool) is not None for tool in step.tools)


def _size_of_result(shop: Workshop, step: Step, checkpoint: Checkpoint | None) -> int | None:
    """Bytes of the result of a step, or of the last one of its recipe."""
    result = recall(shop, step, checkpoint)
    if result is not None:
        return result.tree.size
    if not isinstance(step, Assembly):
        cost = expected_cost(shop.store, step, input_size(step, checkpoint, {}))
        return cost.output_bytes if cost is not None else None
    total = 0
    unknown: set[Step] = set()
    for _, input in step.inputs:
        needed = step_of(input)
        result = recall(shop, needed, checkpoint) if needed is not None else None
        if result is not None:
            total += input_tree(input, result.tree).size
        elif needed is not None and needed not in unknown:
            unknown.add(needed)  # only the size of all its parts together is known
            size = _size_of_result(shop, needed, checkpoint)
            if size is None:
                return None
            total += size
    return total
