"""`phibuild graph`: the targets and what they are made from, for dot or mermaid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from phibuild.cli.console import say
from phibuild.cli.sconstruct import describe_targets, folder_option


@click.command("graph")
@click.option("--as", "language", type=click.Choice(["dot", "mermaid"]), default="dot")
@folder_option
def command(language: str, folder: Path) -> None:
    """Print the graph of all targets, for Graphviz (dot) or mermaid."""
    targets = describe_targets(folder)
    say((_dot if language == "dot" else _mermaid)(targets))


def _dot(targets: list[dict[str, Any]]) -> str:
    lines = ["digraph phibuild {", "  rankdir=LR;", "  node [shape=box];"]
    for one in targets:
        label = json.dumps(f"{one['name']}\n{one['format']} {one['label']}", ensure_ascii=False)
        lines.append(f"  {json.dumps(one['name'])} [label={label}];")
        lines += [f"  {json.dumps(name)} -> {json.dumps(one['name'])};" for name in one["sources"]]
    return "\n".join([*lines, "}"])


def _mermaid(targets: list[dict[str, Any]]) -> str:
    names = [*(one["name"] for one in targets), *(n for one in targets for n in one["sources"])]
    ids = {name: f"n{position}" for position, name in enumerate(dict.fromkeys(names))}
    labels = {one["name"]: f"{one['name']}<br>{one['format']} {one['label']}" for one in targets}
    lines = ["flowchart LR"]
    lines += [f'  {ids[n]}["{labels.get(n, n).replace(chr(34), chr(39))}"]' for n in ids]
    lines += [f"  {ids[name]} --> {ids[one['name']]}" for one in targets for name in one["sources"]]
    return "\n".join(lines)
