"""Writes docs/reference from the code: `./run python -m tests.tools.reference`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pluggy

from phibuild import hookspecs
from phibuild.model.errors import CODES
from phibuild.model.recipe import FieldRules, rules_of
from phibuild.registry import load_registry


def errors_page() -> str:
    """Every error code and what it means."""
    lines = ["# Error codes", "", "| code | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {meaning} |" for code, meaning in CODES.items()]
    return "\n".join(lines) + "\n"


def hooks_page() -> str:
    """Every hook and what it is for."""
    lines = ["# Hooks", "", "| hook | what it returns |", "| --- | --- |"]
    for name, function in sorted(vars(hookspecs).items()):
        if name.startswith("phibuild_") and not isinstance(function, pluggy.HookspecMarker):
            lines.append(f"| `{name}` | {' '.join((function.__doc__ or '').split())} |")
    return "\n".join(lines) + "\n"


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
