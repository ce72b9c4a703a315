"""`phibuild graph`: the targets and their sources, for dot or mermaid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from phibuild.cli.console import say
from phibuild.cli.sconstruct import folder_option, target_states


@click.command("graph")
@click.option("--as", "language", type=click.Choice(["dot", "mermaid"]), default="dot")
@folder_option
def command(language: str, folder: Path) -> None:
    """Print the graph of all targets, for Graphviz (dot) or mermaid."""
    targets = target_states(folder)
    say((_dot if language == "dot" else _mermaid)(targets))


def _dot(targets: list[dict[str, Any]]) -> str:
    lines = ["digraph phibuild {", "  rankdir=LR;", "  node [shape=box];"]
    for target in targets:
        name = json.dumps(target["name"])
        text = f"{target['name']}\n{target['format']} {target['label']}"
        lines.append(f"  {name} [label={json.dumps(text, ensure_ascii=False)}];")
        lines += [f"  {json.dumps(source)} -> {name};" for source in target["sources"]]
    return "\n".join([*lines, "}"])


def _mermaid(targets: list[dict[str, Any]]) -> str:
    labels = {t["name"]: f"{t['name']}<br>{t['format']} {t['label']}" for t in targets}
    names = dict.fromkeys([*labels, *(source for t in targets for source in t["sources"])])
    ids = {name: f"n{position}" for position, name in enumerate(names)}
    lines = ["flowchart LR"]
    lines += [f'  {ids[n]}["{labels.get(n, n).replace(chr(34), chr(39))}"]' for n in ids]
    lines += [f"  {ids[source]} --> {ids[t['name']]}" for t in targets for source in t["sources"]]
    return "\n".join(lines)
