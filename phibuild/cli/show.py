"""`phibuild show PATH`: the contents of an artifact and its provenance, or a model."""

from __future__ import annotations

from pathlib import Path

import click

from phibuild.cli.console import say
from phibuild.cli.show_model import show_model
from phibuild.engine.forecast.state import worker_notes
from phibuild.engine.workshop import Workshop
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.model.sizes import show_size
from phibuild.offers import Description
from phibuild.registry import load_registry
from phibuild.store.index import hash_file
from phibuild.store.placements import place_of
from phibuild.store.strangers import strangers


@click.command("show")
@click.argument("artifact", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--tensors/--no-tensors", default=True, help="List every tensor of an artifact.")
@click.option("--verify", is_flag=True, help="Read the files of an artifact again.")
@click.option("--json", "as_json", is_flag=True, help="Describe a model for programs.")
def command(artifact: Path, tensors: bool, verify: bool, as_json: bool) -> None:
    """Describe an artifact, or a source model: the folder of a checkpoint.

    Of an artifact: format, tensors, bits per weight, metadata and provenance. Of a model: family,
    slices with their digests, files used and ignored, warnings.
    """
    artifact = Path(str(artifact).removesuffix(SUFFIX)).absolute()
    shop = Workshop.open()
    manifest = shop.artifacts.manifest_of(artifact)
    if manifest is None and (not artifact.is_file() or _is_in_checkpoint(artifact)):
        show_model(artifact, as_json=as_json)
        return
    if as_json:
        raise click.UsageError("--json describes a model, and this is an artifact")
    if manifest is None:
        raise click.ClickException(f"{artifact} has no manifest: phibuild did not make it")
    say(f"{artifact.name}: {manifest.format}, {show_size(manifest.tree.size)}")
    if manifest.bits_per_weight is not None:
        say(f"{manifest.bits_per_weight:.3f} bits per weight, {manifest.parameters:,} weights")
    say(f"{manifest.tree.digest}  {_state(shop, manifest, artifact, reads=verify)}")
    beside = sorted(stranger.path for stranger in strangers(str(artifact), manifest.tree))
    if beside:  # such as objects that were compiled in place
        say(f"in its folder, but not part of it: {', '.join(beside)}")
    description = _contents(manifest, artifact)
    if description is not None:
        _print_description(description, tensors=tensors)
    _print_provenance(shop, manifest)


def _state(shop: Workshop, manifest: Manifest, artifact: Path, *, reads: bool) -> str:
    """Whether the files are those of the manifest. Unless it `reads` them, files count as unchanged
    if their size and times are."""
    if not shop.artifacts.is_in_place(manifest.tree, artifact, allow_others=True):
        return "CHANGED since it was built"
    if not reads:
        return "unchanged by size and time, not read (--verify reads it)"
    changed = [
        entry.path
        for entry in manifest.tree.entries
        if hash_file(Path(place_of(str(artifact), entry))) != entry.digest
    ]
    return (
        f"CHANGED under the same times: {', '.join(changed)}" if changed else "intact, every byte"
    )


def _is_in_checkpoint(path: Path) -> bool:
    return path.suffix == ".safetensors" or (path.parent / "config.json").is_file()


def _contents(manifest: Manifest, artifact: Path) -> Description | None:
    for offer in load_registry().builders:
        if offer.format == manifest.format and offer.describe is not None:
            return offer.describe(artifact)
    return None


def _print_description(description: Description, *, tensors: bool) -> None:
    if description.metadata:
        say("\nmetadata")
        for name, value in description.metadata:
            say(f"  {name} = {value}")
    count = len(description.tensors)
    say(f"\n{count} tensors")
    types: dict[str, int] = {}
    for tensor in description.tensors:
        types[tensor.type] = types.get(tensor.type, 0) + 1
        if tensors:
            shape = " x ".join(map(str, tensor.shape)) or "scalar"
            say(f"  {tensor.name:<48} {tensor.type:<8} {shape:<20} {show_size(tensor.size)}")
    say("  " + ", ".join(f"{kind}: {number}" for kind, number in sorted(types.items())))


def _print_provenance(shop: Workshop, manifest: Manifest) -> None:
    """The records of the actions that made the artifact and its inputs, each once."""
    say("\nprovenance")
    keys = [manifest.key]
    for key in keys:
        result = shop.store.recall(key)
        if result is None:
            say(f"  the record of {key} is not in this store")
            continue
        say(f"  {result.action}, {result.maker}, {result.finished}, {result.seconds:.1f} s")
        for fact in result.facts:
            say(f"  {fact.name} = {fact.value}")
        for line in worker_notes(shop.store, result.tree).splitlines():
            say(f"    {line}".rstrip())
        needed = dict.fromkeys(key for _, key in result.inputs)
        keys += [key for key in needed if key not in keys]
