"""The rules that every backend keeps: subclass `BackendContract` in a test and name the backend."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from phibuild.engine.declaration import NO_MODEL
from phibuild.model.action import HOST, OWN, SLICES, Action, FileInput, Step, steps_of
from phibuild.model.errors import PhiError, RecipeError
from phibuild.model.recipe import parse_recipe, rules_of
from phibuild.offers import Backend
from phibuild.registry import load_registry
from phibuild.testing._recipe_fields import ignored_fields
from phibuild.testing._worker_imports import forgotten_and_superfluous


class BackendContract:
    """`good_fields` are recipes that must be accepted before the model is known: give each field in
    one of them. `bad_fields` are recipes that must be refused; `extras` are the files beside the
    model that every plan needs, by name."""

    backend_name: ClassVar[str]
    good_fields: ClassVar[list[dict[str, Any]]]
    bad_fields: ClassVar[list[dict[str, Any]]]
    extras: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend, loaded through its entry point."""
        named = [b for b in load_registry().backends.values() if b.name == self.backend_name]
        assert named, f"no installed plugin offers the backend {self.backend_name!r}"
        return named[0]

    def plan(self, backend: Backend, fields: dict[str, Any]) -> Step:
        """Parse, check and plan, as a builder does before the model exists."""
        return self.plan_of(backend, parse_recipe(backend.recipe, fields, builder=backend.builder))

    def plan_of(self, backend: Backend, recipe: Any) -> Step:
        """Check and plan."""
        extras = {name: FileInput(path) for name, path in self.extras.items()}
        backend.check(recipe, NO_MODEL, extras)
        return backend.plan(recipe, NO_MODEL, extras)

    def test_a_good_recipe_is_planned_as_a_value(self, backend: Backend) -> None:
        for fields in self.good_fields:
            first, second = self.plan(backend, fields), self.plan(backend, fields)
            assert first == second
            assert hash(first) == hash(second)

    def test_recipes_that_differ_give_different_actions(self, backend: Backend) -> None:
        plans = [self.plan(backend, fields) for fields in self.good_fields]
        assert len(set(plans)) == len(plans)

    def test_every_field_changes_the_plan_or_is_refused(self, backend: Backend) -> None:
        ignored = ignored_fields(
            backend.recipe,
            self.good_fields,
            lambda recipe: self.plan_of(backend, recipe),
            builder=backend.builder,
        )
        for name, fields in ignored:
            pytest.fail(f"{name} is ignored with {fields}")

    def test_a_bad_recipe_is_refused_with_a_hint(self, backend: Backend) -> None:
        for fields in self.bad_fields:
            with pytest.raises(RecipeError) as refusal:
                self.plan(backend, fields)
            assert refusal.value.hint, fields
            assert refusal.value.code.startswith("PHI2")

    def test_a_misspelt_field_is_refused_with_its_name(self, backend: Backend) -> None:
        for name in rules_of(backend.recipe):
            with pytest.raises(RecipeError, match=f"{name}x") as refusal:
                parse_recipe(backend.recipe, {f"{name}x": 1}, builder=backend.builder)
            assert name in refusal.value.hint or "the fields are" in refusal.value.hint

    def test_every_field_is_documented(self, backend: Backend) -> None:
        for name, rules in rules_of(backend.recipe).items():
            assert rules.doc, name

    def test_starter_recipes_are_good(self, backend: Backend) -> None:
        for fields in backend.starters:
            recipe = parse_recipe(backend.recipe, fields, builder=backend.builder)
            backend.check(recipe, NO_MODEL, {})

    def test_the_format_code_has_four_ascii_characters(self, backend: Backend) -> None:
        assert len(backend.format_code) == 4
        assert backend.format_code.isascii()
        assert backend.format_code.isprintable()

    def test_recipes_are_frozen(self, backend: Backend) -> None:
        recipe = backend.recipe()
        assert recipe == backend.recipe()
        for field in dataclasses.fields(recipe):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(recipe, field.name, None)

    def test_actions_name_real_workers_toolchains_and_slices(self, backend: Backend) -> None:
        registry = load_registry()
        for fields in self.good_fields:
            for action in _actions(self.plan(backend, fields)):
                assert action.worker.is_file(), action.name
                assert all(path.exists() for path in action.worker_files)
                assert action.toolchain in (HOST, OWN, *registry.pythons)
                assert set(action.tools) <= set(registry.natives)
                assert set(action.slices) <= set(SLICES)

    def test_workers_are_shown_the_modules_that_they_import(self, backend: Backend) -> None:
        for fields in self.good_fields:
            for action in _actions(self.plan(backend, fields)):
                assert forgotten_and_superfluous(action) == (set(), set()), action.name

    def test_no_path_of_this_machine_is_in_a_recipe(self, backend: Backend) -> None:
        for fields in self.good_fields:
            for action in _actions(self.plan(backend, fields)):
                for name, value in action.recipe:
                    assert str(action.worker.parent) not in value, name

    def test_describing_something_else_is_a_clear_error(
        self, backend: Backend, tmp_path: Any
    ) -> None:
        path = tmp_path / "other"
        if backend.kind == "tree":
            path.mkdir()
            (path / "readme.txt").write_text("not an artifact")
        else:
            path.write_bytes(b"not an artifact")
        with pytest.raises(PhiError):
            backend.describe(path)

    def test_importing_the_plugin_imports_no_heavy_package(self, backend: Backend) -> None:
        module = backend.plan.__module__.partition(".")[0]
        heavy = "numpy torch transformers onnx onnxruntime openvino nncf mlx gguf rich click SCons"
        program = f"import sys, {module}; print([n for n in {heavy.split()} if n in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


def _actions(step: Step) -> Iterator[Action]:
    return (needed for needed in steps_of(step) if isinstance(needed, Action))
