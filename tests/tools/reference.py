"""Writes docs/reference from the code: `./run python -m tests.tools.reference`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pluggy

from phibuild import hookspecs, offers
from phibuild.model.errors import CODES
from phibuild.model.recipe import FieldRules, rules_of
from phibuild.registry import load_registry


def errors_page() -> str:
    """Every error code and what it means."""
    lines = ["# Error codes", "", "| code | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {meaning} |" for code, meaning in CODES.items()]
    return "\n".join(lines) + "\n"


def hooks_page() -> str:
    """Every hook with its signature, and every field of what plugins and phibuild exchange."""
    lines = ["# Hooks", "", "All names are in `phibuild.api`.", ""]
    lines += ["| hook | what it returns |", "| --- | --- |"]
    for name, function in sorted(vars(hookspecs).items()):
        if name.startswith("phibuild_") and not isinstance(function, pluggy.HookspecMarker):
            returned = _cell(function.__annotations__["return"])
            lines.append(f"| `{name}() -> {returned}` | {_on_one_line(function.__doc__)} |")
    for node in ast.parse(inspect.getsource(offers)).body:
        if isinstance(node, ast.ClassDef):
            lines += ["", f"## `{node.name}`", "", _on_one_line(ast.get_docstring(node)), ""]
            lines += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
            lines += _fields(node)
    return "\n".join(lines) + "\n"


def _fields(descriptor: ast.ClassDef) -> Iterator[str]:
    """A row for each field: the text below a field describes it."""
    for node, following in pairwise([*descriptor.body, ast.Pass()]):
        if isinstance(node, ast.AnnAssign):
            name, kind = ast.unparse(node.target), _cell(ast.unparse(node.annotation))
            default = "" if node.value is None else f"`{_cell(ast.unparse(node.value))}`"
            match following:
                case ast.Expr(ast.Constant(str(doc))):
                    meaning = _on_one_line(doc)
                case _:
                    meaning = ""
            yield f"| `{name}` | `{kind}` | {default} | {meaning} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _on_one_line(doc: str | None) -> str:
    return _cell(" ".join((doc or "").split()))


def recipes_page() -> str:
    """Every field of every builder's recipe."""
    lines = ["# Recipe fields"]
    own = "phibuild"
    for plugin in load_registry().plugins:
        if plugin.distribution != own or plugin.problem:
            continue
        for offer in load_registry().builders:
            if offer.plan.__module__.partition(".")[0] != f"phibuild_{plugin.name}":
                continue
            lines += ["", f"## `env.{offer.builder}`", ""]
            lines += ["| field | takes | default | what it does |", "| --- | --- | --- | --- |"]
            defaults = {field.name: field.default for field in dataclasses.fields(offer.recipe)}
            for name, rules in rules_of(offer.recipe).items():
                lines.append(
                    f"| `{name}` | {_takes(rules)} | `{defaults[name]!r}` |"
                    f" {rules.doc.replace('|', '/')} |"
                )
            lines += [
                f"| `{name}` | a file or artifact | | |" for name in getattr(offer, "extras", ())
            ]
    return "\n".join(lines) + "\n"


def _takes(rules: FieldRules) -> str:
    if rules.choices is not None:
        return ", ".join(f"`{choice}`" for choice in rules.choices)
    low, high = rules.minimum, rules.maximum
    names = {
        "strs": "list of strings",
        "str_map": "mapping of strings",
        "size": "size, such as `2 GB`",
    }
    limits = "" if low is None and high is None else f" {low} to {'' if high is None else high}"
    return names.get(rules.kind, rules.kind) + limits


PAGES: dict[str, Callable[[], str]] = {
    "errors.md": errors_page,
    "hooks.md": hooks_page,
    "recipes.md": recipes_page,
}


def main() -> None:
    """Write the pages of a source checkout."""
    folder = Path(__file__).parent.parent.parent / "docs" / "reference"
    for name, page in PAGES.items():
        (folder / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
