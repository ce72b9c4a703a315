"""Nothing is undocumented: error codes, commands, hooks and recipe fields are in the reference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phibuild import hookspecs
from phibuild.cli.main import cli
from phibuild.model.errors import CODES
from phibuild.registry import load_registry
from tests.tools.reference import PAGES

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for folder in ("phibuild", "plugins", "third_party", "examples")
    for path in (ROOT / folder).rglob("*.py")
]


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_what_the_code_says(name: str) -> None:
    page = ROOT / "docs" / "reference" / name
    assert page.read_text("utf-8") == PAGES[name](), "python -m tests.tools.reference"


def test_every_code_in_the_sources_is_in_the_table() -> None:
    used = {code for path in SOURCES for code in re.findall(r"PHI\d{3}", path.read_text("utf-8"))}
    assert used <= set(CODES), sorted(used - set(CODES))


def test_every_code_in_the_table_is_raised_somewhere() -> None:
    table = ROOT / "phibuild" / "model" / "errors.py"
    used = {
        code
        for path in SOURCES
        if path != table
        for code in re.findall(r"PHI\d{3}", path.read_text("utf-8"))
    }
    classes = set(re.findall(r'default_code = "(PHI\d{3})"', table.read_text("utf-8")))
    assert set(CODES) <= used | classes, sorted(set(CODES) - used - classes)


def test_every_command_has_a_test() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests" / "cli").glob("*.py"))
    import click

    for name in cli.list_commands(click.Context(cli)):
        assert f'"{name}"' in text, name


def test_every_hook_is_used_by_a_plugin_or_a_test() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("phibuild_")}
    text = "\n".join(
        path.read_text("utf-8")
        for folder in ("plugins", "tests")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert {name for name in hooks if not re.search(rf"def {name}\(|{name}=", text)} == set()


def test_every_recipe_field_has_a_test() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    from phibuild.model.recipe import rules_of

    for offer in load_registry().builders:
        for name in rules_of(offer.recipe):
            assert re.search(rf"\b{name}\b", text), f"{offer.builder}: {name}"
