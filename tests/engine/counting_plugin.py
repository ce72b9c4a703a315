"""A plugin that writes down each call of its checks and plans, and a worker for batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

PLUGIN = """\
import os
from dataclasses import dataclass
from pathlib import Path

from phibuild.api import (
    Action, Backend, Description, Packager, Runtime, frozen_recipe, hookimpl, recipe_field
)

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str = recipe_field("", "Names the target in the log.", kind="str")


def logged(call, result):
    def function(recipe, *arguments):
        with open(os.environ["CALLS"], "a") as log:
            log.write(f"{call} {recipe.name}\\n")
        return result(recipe, *arguments)
    return function


def convert(recipe, model, extras):
    return Action("count.write", HERE / "counting_worker.py", "host", slices=("generation",),
                  recipe=frozen_recipe({"name": recipe.name}), batched=True)


def pack(recipe, artifact, about, extras):
    return Action("count.pack", HERE / "counting_worker.py", "host", inputs=(("from", artifact),),
                  recipe=frozen_recipe({"name": recipe.name}), batched=True)


def run(recipe):
    return Action("count.run", HERE / "counting_worker.py", "host",
                  recipe=frozen_recipe({"name": recipe.name}), batched=True)


def nothing(*arguments):
    return None


@hookimpl
def phibuild_backends():
    return (Backend(
        name="count", builder="Count", format="count", kind="file", recipe=Recipe,
        check=logged("check", nothing), plan=logged("plan", convert),
        label=lambda recipe: recipe.name, describe=lambda path: Description("count", (), ()),
    ),)


@hookimpl
def phibuild_packagers():
    return (Packager(
        name="count", builder="Pack", format="pack", kind="file", recipe=Recipe,
        check=logged("check", nothing), plan=logged("plan", pack), label=lambda recipe: recipe.name,
    ),)


@hookimpl
def phibuild_runtimes():
    return (Runtime(
        name="count", builder="Programs", format="programs", recipe=Recipe,
        plan=logged("plan", run), label=lambda recipe: recipe.name,
    ),)
"""
WORKER = """\
import phiworker


def main(jobs):
    for job in jobs:
        job.output.write_text(job.recipe["name"])


if __name__ == "__main__":
    phiworker.run_batch(main)
"""


def write_plugin(folder: Path) -> None:
    """Write the plugin, and what makes its entry point found from this folder on sys.path."""
    info = folder / "counting_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[phibuild]\ncount = counting_plugin\n")
    (folder / "counting_plugin.py").write_text(PLUGIN)
    (folder / "counting_worker.py").write_text(WORKER)


def calls(log: Path) -> Counter[str]:
    """How often each check and plan was called since the last look, as "plan NAME"."""
    counter = Counter(log.read_text().splitlines()) if log.exists() else Counter[str]()
    log.unlink(missing_ok=True)
    return counter
