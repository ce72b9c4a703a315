"""`phibuild init CHECKPOINT`: a commented SConstruct to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from phibuild.engine.declaration import model_facts
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PhiError
from phibuild.model.recipe import parse_recipe
from phibuild.offers import Backend, ModelFacts

_HEAD = """\
# Artifacts of {name}: {model_type}, {parameters:.2f} billion weights.
# `scons` builds all of them, `scons PATH` one, `phibuild plan` says what a build would do and why.
from phibuild.scons import phibuild

DefaultEnvironment(tools=[])  # otherwise SCons looks for compilers at each start
env = Environment(tools=[phibuild])

phi = env.PhiModel({path!r})
"""


@click.command("init")
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace an existing SConstruct.")
def command(checkpoint: Path, force: bool) -> None:
    """Write an SConstruct for the model in the folder CHECKPOINT."""
    target = Path("SConstruct")
    if os.path.lexists(target) and not force:
        raise click.ClickException("SConstruct already exists; --force replaces it")
    text = sconstruct_for(checkpoint)
    if target.is_symlink():  # --force does not replace what the link leads to
        target.unlink()
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {target}; try `phibuild plan`, then `scons`")


def sconstruct_for(checkpoint: Path) -> str:
    """The text: one artifact for each backend with a starter recipe, and those that refuse the
    model as comments with the reason."""
    shop = Workshop.open()
    source = shop.sources.checkpoint(checkpoint.absolute())
    facts = model_facts(source)
    name = checkpoint.absolute().name
    text = _HEAD.format(
        name=name,
        model_type=facts.model_type,
        parameters=source.parameters / 1e9,
        path=str(checkpoint),
    )
    for backend in shop.registry.backends.values():
        if backend.starters:
            text += _declaration(backend, name, facts)
    return text


def _declaration(backend: Backend, name: str, facts: ModelFacts) -> str:
    """The line that declares an artifact by the first starter recipe that the model allows."""
    refusal = ""
    for fields in backend.starters:
        try:
            recipe = parse_recipe(backend.recipe, fields, builder=backend.builder)
            backend.check(recipe, facts, {})
        except PhiError as error:
            refusal = error.message
            continue
        words = [name, fields.get("precision") or backend.label(recipe)]
        if not backend.suffix:
            words.append(backend.name)
        path = f"dist/{_file_name('-'.join(words))}{backend.suffix}"
        arguments = "".join(f", {key}={value!r}" for key, value in fields.items())
        return f"{backend.builder.lower()} = env.{backend.builder}({path!r}, phi{arguments})\n"
    return f"# env.{backend.builder}: {refusal}\n"


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
