"""Each declaration is checked and planned once, and again only when its model has changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from phibuild.engine.declaration import Declaration, ModelRef
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action, Step
from phibuild.offers import ModelFacts
from phibuild.registry import load_registry
from phibuild.store import Store
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project
from tests.engine.counting_plugin import calls, write_plugin

COUNT = 6
MANY = f"""\
phi = env.PhiModel("model")
for number in range({COUNT}):
    env.Count(f"dist/a{{number}}", phi, name=f"a{{number}}")
env.Pack("dist/pack", "dist/a0", name="pack")
env.Programs("dist/programs", name="programs")
"""
ONCE = Counter(
    [f"{call} a{number}" for number in range(COUNT) for call in ("check", "plan")]
    + ["check pack", "plan pack", "plan programs"]
)


@pytest.fixture
def counting(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a model, and the plugin."""
    write_plugin(project.folder / "plugin")
    monkeypatch.setenv("PYTHONPATH", str(project.folder / "plugin"))
    monkeypatch.setenv("CALLS", str(project.folder / "calls"))
    write_checkpoint(project.folder / "model", FAMILIES["phi-3"], layers=1)
    return project


@pytest.mark.parametrize("jobs", ["-j1", "-j4"])
def test_a_build_checks_and_plans_each_declaration_once(counting: Project, jobs: str) -> None:
    counting.sconstruct(MANY)
    ran = counting.scons(jobs)
    assert ran.status == 0, ran.text
    assert len(ran.names("built")) == COUNT + 2
    assert f"count.write, {COUNT} targets" in ran.text
    assert calls(counting.folder / "calls") == ONCE
    assert counting.scons(jobs).text == "scons: `.' is up to date.\n"
    assert calls(counting.folder / "calls") == ONCE


def test_a_plan_and_a_depfile_do_so_as_well(counting: Project) -> None:
    counting.sconstruct(MANY)
    assert counting.phibuild("plan").status == 0
    assert calls(counting.folder / "calls") == ONCE
    assert counting.phibuild("build", "--depfile", "out.d").status == 0
    assert calls(counting.folder / "calls") == ONCE


def test_cleaning_plans_nothing(counting: Project) -> None:
    counting.sconstruct(MANY)
    assert counting.scons("-c").status == 0
    assert not [call for call in calls(counting.folder / "calls") if call.startswith("plan")]


def test_a_model_that_a_target_makes_is_planned_again_when_it_exists(counting: Project) -> None:
    counting.write(
        "copy_model.py",
        "import phiworker, shutil\n"
        'phiworker.run(lambda job: shutil.copytree(job.inputs["model"], job.output))\n',
    )
    counting.sconstruct(
        'copy = env.Artifact("dist/copy", worker="copy_model.py", inputs={"model": "model"})\n'
        'env.Count("dist/a", env.PhiModel(copy), name="a")\n'
    )
    ran = counting.scons()
    assert ran.status == 0, ran.text
    assert calls(counting.folder / "calls") == Counter(["check a", "plan a"] * 2)


class Origin:
    """Remembers the models that it planned for."""

    format, label = "test", ""

    def __init__(self) -> None:
        self.models: list[ModelFacts] = []

    def plan(self, model: ModelFacts) -> Step:
        self.models.append(model)
        return Action("test", Path("worker.py"), "host")


def test_a_plan_is_dropped_when_its_model_has_changed(tmp_path: Path) -> None:
    shop = Workshop.of(Store(tmp_path / "store"), load_registry())
    model = write_checkpoint(tmp_path / "model", FAMILIES["phi-3"], layers=1)
    origin = Origin()
    declaration = Declaration("a", tmp_path / "a", origin, ModelRef(model))  # type: ignore[arg-type]
    plan = shop.plans.of(declaration)
    assert shop.plans.of(declaration) is plan
    (model / "config.json").touch()  # read again, with the same facts
    assert shop.plans.of(declaration).step is plan.step
    assert shop.plans.of(declaration).checkpoint is not plan.checkpoint
    assert len(origin.models) == 1
    (model / "generation_config.json").write_text('{"temperature": 0.5}')
    changed = shop.plans.of(declaration)
    assert len(origin.models) == 2
    assert changed.model.slices["generation"] != plan.model.slices["generation"]
