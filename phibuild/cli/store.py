"""`phibuild store`: what the store holds, what stays in it, and whether it is intact."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from phibuild.cli.console import say
from phibuild.model.digest import Digest
from phibuild.model.errors import StoreError
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.model.sizes import parse_size, show_size
from phibuild.store import Store, store_root
from phibuild.store.collection import carry_out, collect_to_limit, plan_collection
from phibuild.store.settings import limit_of, pin, pins_of, set_limit, unpin
from phibuild.store.survey import read_result, survey
from phibuild.store.usage import APART, counted, counted_usage, disk_usage

_UNUSED_DAYS = 14.0
"""Days after which a result counts as unused, unless the user says otherwise."""


class _Size(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A number of bytes, such as 20GB."""

    name = "size"

    def convert(self, value: object, param: object, ctx: object) -> int:
        try:
            return parse_size(str(value))
        except ValueError as error:
            raise click.BadParameter(str(error)) from None


@click.group("store")
def command() -> None:
    """Inspect the store, collect what is not needed, verify its files."""


@command.command("stat")
def stat() -> None:
    """Print where the store is, its size on the disk, and what a collection would free."""
    store = Store(store_root())
    usage = disk_usage(store.root)
    limit = limit_of(store.root)
    say(f"store       {store.root}")
    content = survey(store)
    say(f"objects     {len(content.objects)} files, {show_size(usage.get('objects', 0))}")
    say(f"results     {len(content.results)} action results, {show_size(usage.get('results', 0))}")
    for name in sorted(usage.keys() - {"objects", "results"}):
        if (store.root / name).is_dir() and (usage[name] > 100_000 or name in APART):
            say(f"{name:<11} {show_size(usage[name])}")
    say(f"pins        {len(pins_of(store.root))}")
    most = ", no limit" if limit is None else f" of at most {show_size(limit)}"
    say(f"counted     {show_size(counted(usage))}{most} (all but {', '.join(APART)})")
    freed = plan_collection(store, since=_days_ago(_UNUSED_DAYS)).freed
    say(f"collect     would free {show_size(freed)}")


@command.command("collect")
@click.option(
    "--keep", type=_Size(), help="Remove the least recently used results until this is left."
)
@click.option(
    "--unused",
    metavar="DAYS",
    type=click.FloatRange(min=0),
    help=f"Remove results that were not used for so long ({_UNUSED_DAYS:.0f}, without --keep).",
)
@click.option(
    "--toolchains", is_flag=True, help="Remove toolchains that this phibuild does not use."
)
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
def collect(keep: int | None, unused: float | None, toolchains: bool, dry_run: bool) -> None:
    """Remove what is not needed any more. Builds may run at the same time.

    Pinned results stay. So do, as far as --keep has room, results of artifacts that are still in
    place, and results that were used lately. What is removed is built again when it is needed.
    """
    store = Store(store_root())
    if unused is None and keep is None:
        unused = _UNUSED_DAYS
    if toolchains:
        _collect_toolchains(dry_run=dry_run)
    plan = plan_collection(store, keep=keep, since=0.0 if unused is None else _days_ago(unused))
    if dry_run:
        for key in sorted(plan.results):
            result = read_result(store.root / "results" / key)
            action = "a result" if result is None else f"{result.action}, {result.finished}"
            say(f"result  {key[:16]}  {action}")
        for path in plan.others:
            say(f"remove  {path}")
        say(
            f"{len(plan.results)} results, {len(plan.objects)} objects and"
            f" {len(plan.others)} other files would be removed: {show_size(plan.freed)},"
            f" {show_size(plan.left)} would be left"
        )
        return
    freed = carry_out(store, plan)
    for path in freed.kept:
        say(f"kept {path}: phibuild did not build it")
    left = counted_usage(store.root)
    say(f"freed {show_size(max(0, freed.bytes))}, {show_size(left)} left")
    if keep is not None and left > keep:
        say("more than that is pinned, or in use by builds that are running")


def _days_ago(days: float) -> float:
    return time.time() - days * 86400


def _collect_toolchains(*, dry_run: bool) -> None:
    from phibuild.engine.upkeep import remove_unused
    from phibuild.engine.workshop import Workshop

    for path in remove_unused(Workshop.open(), dry_run=dry_run):
        say(f"{'remove ' if dry_run else 'removed'} {path}")


@command.command("limit")
@click.argument("size", required=False)
def limit(size: str | None) -> None:
    """Limit the store to SIZE, such as 20GB; `none` removes the limit. Without SIZE print it.

    A build that makes the store larger collects at its end, as `collect --keep` does.
    """
    store = Store(store_root())
    if size is not None:
        try:
            set_limit(store.root, None if size == "none" else parse_size(size))
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        freed = collect_to_limit(store)
        if freed is not None:
            say(f"freed {show_size(max(0, freed.bytes))}")
    most = limit_of(store.root)
    say("no limit" if most is None else f"at most {show_size(most)}")


@command.command("pin")
@click.argument("names", metavar="[TARGET|KEY]...", nargs=-1)
def pin_(names: tuple[str, ...]) -> None:
    """Keep the results of artifacts, whatever the limit; without arguments list the pins."""
    store = Store(store_root())
    for name in names:
        key, label = _result_named(store, name)
        pin(store.root, key, label)
    if not names:
        for key, label in pins_of(store.root).items():
            say(f"{key}  {label}")


@command.command("unpin")
@click.argument("names", metavar="(TARGET|KEY)...", nargs=-1, required=True)
def unpin_(names: tuple[str, ...]) -> None:
    """Allow collections to remove the results of artifacts."""
    store = Store(store_root())
    for name in names:
        keys = [key for key, label in pins_of(store.root).items() if name in (str(key), label)]
        keys = keys or [_result_named(store, name)[0]]
        if not [key for key in keys if unpin(store.root, key)]:
            raise StoreError(
                f"{name} is not pinned", hint="see `phibuild store pin`", code="PHI306"
            )


def _result_named(store: Store, name: str) -> tuple[Digest, str]:
    """The key of a result, by itself or by an artifact; StoreError PHI306 for neither."""
    try:
        return Digest.parse(name), name
    except ValueError:
        pass
    target = Path(name.removesuffix(SUFFIX)).absolute()
    try:
        text = Path(f"{target}{SUFFIX}").read_text("utf-8", errors="replace")
    except OSError:
        raise StoreError(
            f"{target} has no manifest and is not a key",
            hint="name an artifact that was built, or a key: sha256:... of its manifest",
            code="PHI306",
        ) from None
    return Manifest.from_text(text, where=str(target)).key, str(target)


@command.command("verify")
@click.option(
    "--repair", is_flag=True, help="Remove damaged files; a later build makes them again."
)
def verify(repair: bool) -> None:
    """Read everything in the store again; exit status 1 if anything is damaged."""
    from phibuild.store import verification

    store = Store(store_root())
    total = disk_usage(store.root).get("objects", 0)
    with click.progressbar(length=max(total, 1), label="reading", file=sys.stderr) as bar:
        faults = verification.verify(store, bar.update)
    for fault in faults:
        say(f"{fault.path} {fault.problem}")
    if not faults:
        say("everything is intact")
        return
    if repair:
        verification.repair(store, faults)
        say(f"{len(faults)} faults repaired: damaged files are removed")
        return
    say(f"{len(faults)} faults; --repair removes damaged files")
    raise SystemExit(1)
