"""`phibuild init CHECKPOINT`: a commented SConstruct to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

from phibuild.engine.declaration import model_facts
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PhiError
from phibuild.model.recipe import parse_recipe

_HEAD = """\
# Artifacts of {name}: {model_type}, {parameters:.2f} billion weights.
# `scons` builds all of them, `scons PATH` one, `phibuild plan` says what would be done and why.
from phibuild.scons import phibuild

DefaultEnvironment(tools=[])  # keeps SCons from looking for compilers at each start
env = Environment(tools=[phibuild])

phi = env.PhiModel({path!r})
"""
_FIELDS: dict[str, dict[str, Any]] = {
    "GGUF": {"precision": "int4"},
    "OnnxGenAI": {"precision": "int4", "execution_provider": "cpu"},
    "OpenVINO": {"precision": "int4"},
    "MLX": {"precision": "int4"},
}
_OPENVINO_GROUPS = (128, 64, 32)


@click.command("init")
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace an SConstruct that is there.")
def command(checkpoint: Path, force: bool) -> None:
    """Write an SConstruct for the model in the folder CHECKPOINT."""
    target = Path("SConstruct")
    if os.path.lexists(target) and not force:
        raise click.ClickException("there is an SConstruct here; --force replaces it")
    text = sconstruct_for(checkpoint)
    if target.is_symlink():  # what the link leads to is not what --force is about
        target.unlink()
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {target}; try `phibuild plan`, then `scons`")


def sconstruct_for(checkpoint: Path) -> str:
    """The text: one artifact for each backend, those that refuse the model as comments with the
    reason."""
    shop = Workshop.open()
    read = shop.sources.checkpoint(checkpoint.absolute())
    facts = model_facts(read)
    name = re.sub(r"[^a-z0-9.]+", "-", checkpoint.absolute().name.lower()).strip("-")
    text = _HEAD.format(
        name=checkpoint.absolute().name,
        model_type=facts.model_type,
        parameters=read.parameters / 1e9,
        path=str(checkpoint),
    )
    for builder, fields in _FIELDS.items():
        backend = shop.registry.backend_of_builder(builder)
        suffix = ".gguf" if builder == "GGUF" else f"-{backend.name}"
        path = f"dist/{name}-int4{suffix}"
        candidates = [fields]
        if builder == "OpenVINO":
            candidates = [{**fields, "group_size": size} for size in _OPENVINO_GROUPS]
        refusal = ""
        for candidate in candidates:
            try:
                backend.check(parse_recipe(backend.recipe, candidate, builder=builder), facts, {})
            except PhiError as error:
                refusal = error.message
                continue
            arguments = ", ".join(f"{key}={value!r}" for key, value in candidate.items())
            text += f"{backend.name} = env.{builder}({path!r}, phi, {arguments})\n"
            break
        else:
            text += f"# env.{builder}: {refusal}\n"
    return text
