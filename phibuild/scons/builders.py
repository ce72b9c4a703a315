"""The builders: each turns a call in an SConstruct into a declaration and its nodes.

SCons sees one small file for each artifact, its manifest, and an alias that has the artifact's path
for a name: sources of the user's own rules get that path and rerun when the manifest changes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import SCons.Errors
import SCons.Node
from SCons.Script import BUILD_TARGETS, Action, GetOption

from phibuild.engine.declaration import (
    NO_MODEL,
    Conversion,
    Custom,
    Declaration,
    Generation,
    ModelRef,
    Packaging,
    Programs,
    model_facts,
)
from phibuild.engine.keys import signature
from phibuild.model.action import HOST, FileInput, files_of, frozen_recipe
from phibuild.model.action import Action as PhiAction
from phibuild.model.errors import PhiError, RecipeError
from phibuild.model.manifest import SUFFIX
from phibuild.model.recipe import FieldRules, checked, parse_recipe
from phibuild.offers import ArtifactFacts, Backend, Packager, Runtime
from phibuild.scons.claims import TargetClaim, Use
from phibuild.scons.models import Model, as_model
from phibuild.scons.paths import check_size
from phibuild.scons.session import session
from phibuild.scons.translate import (
    Found,
    file_node,
    find,
    listed,
    read_phase,
    single,
    target_node,
)

_TEXT = FieldRules("", "str")
_LARGEST_EXTRA = 2 << 30
"""Bytes; an imatrix of the largest Phi model has a twentieth of them."""
_COUNT = FieldRules("", "int", minimum=1)


def declare_conversion(
    backend: Backend,
    env: Any,
    target: Any,
    model: Any = None,
    *,
    toolchain: str | None = None,
    **fields: Any,
) -> Any:
    """`env.<Builder>(target, model, **recipe)`: an artifact of one backend."""
    with read_phase():
        source = as_model(env, model)
        extras = _take_extras(env, backend, fields)
        recipe = parse_recipe(backend.recipe, fields, builder=backend.builder)
        what = Conversion(backend, recipe, _inputs(extras))
        backend.check(recipe, source.facts, what.extras)
        return _declare(
            env,
            target,
            format_name=backend.format,
            label=backend.label(recipe),
            model=source,
            what=what,
            sources=list(extras.values()),
            toolchain=toolchain,
        )


def declare_packaging(
    packager: Packager, env: Any, target: Any, artifact: Any = None, **fields: Any
) -> Any:
    """`env.<Builder>(target, artifact, **recipe)`: an artifact wrapped for a device."""
    with read_phase():
        found = find(env, artifact)
        extras = _take_extras(env, packager, fields)
        recipe = parse_recipe(packager.recipe, fields, builder=packager.builder)
        asked = session().declarations.get(found.path)
        about, model = ArtifactFacts(), None
        if asked is not None:
            name = asked.model.folder.name if asked.model else ""
            about = ArtifactFacts(asked.format, asked.label, name)
            model = _same_model(asked.model)
        what = Packaging(packager, recipe, found.path, about, _inputs(extras))
        packager.check(recipe, about, what.extras)
        return _declare(
            env,
            target,
            format_name=packager.format,
            label=packager.label(recipe),
            model=model,
            what=what,
            sources=[found, *extras.values()],
            toolchain=None,
            nodes=packager.nodes(recipe),
        )


def _take_extras(env: Any, offer: Backend | Packager, fields: dict[str, Any]) -> dict[str, Found]:
    """The files among the keywords of a builder, which leave `fields`."""
    passed = {name: fields.pop(name, None) for name in offer.extras}
    found = {name: find(env, value) for name, value in passed.items() if value is not None}
    for name, one in found.items():
        check_size(one.path, name, most=_LARGEST_EXTRA)
    return found


def _inputs(extras: Mapping[str, Found]) -> dict[str, FileInput]:
    return {name: FileInput(str(one.path)) for name, one in extras.items()}


def _same_model(ref: ModelRef | None) -> Model | None:
    """The model of another target, for what its digests say; that target waits for its nodes."""
    if ref is None:
        return None
    if ref.made_here or session().only_cleans:
        return Model(ref)
    checkpoint = session().shop.checkpoint(ref.folder)
    return Model(ref, checkpoint=checkpoint, facts=model_facts(checkpoint))


def declare_runtime(runtime: Runtime, env: Any, target: Any, **fields: Any) -> Any:
    """`env.<Builder>(target, **recipe)`: the programs that run artifacts on a device."""
    with read_phase():
        recipe = parse_recipe(runtime.recipe, fields, builder=runtime.builder)
        what = Programs(runtime, recipe)
        files = [] if session().only_cleans else files_of(what.action())
        return _declare(
            env,
            target,
            format_name=runtime.format,
            label=runtime.label(recipe),
            model=None,
            what=what,
            sources=[find(env, one.path) for one in files],
            toolchain=None,
        )


def declare_generation(
    env: Any,
    target: Any,
    artifact: Any,
    *,
    prompt: str,
    expect: str = "",
    max_tokens: int = 32,
    toolchain: str | None = None,
) -> Any:
    """`env.Generate(target, artifact, prompt=..., expect=...)`: ask an artifact in its own runtime,
    through its chat template; the build fails unless the answer contains `expect`."""
    with read_phase():
        prompt = checked("prompt", prompt, _TEXT, "Generate")
        expect = checked("expect", expect, _TEXT, "Generate")
        max_tokens = checked("max_tokens", max_tokens, _COUNT, "Generate")
        found = find(env, artifact)
        asked = session().declarations.get(found.path)
        if asked is None:
            raise RecipeError(
                f"{single(artifact, 'artifact')} is not an artifact of this SConstruct",
                hint="pass what env.GGUF(...) or another builder returned",
                code="PHI205",
            )
        evaluator = session().shop.registry.evaluator(asked.format)
        what = Generation(evaluator, found.path, prompt, max_tokens, expect)
        return _declare(
            env,
            target,
            format_name="answer",
            label=asked.name,
            model=None,
            what=what,
            sources=[found],
            toolchain=toolchain,
        )


def declare_artifact(
    env: Any,
    target: Any,
    *,
    worker: Any,
    modules: Any = (),
    inputs: Mapping[str, Any] | None = None,
    toolchain: str = HOST,
    network: bool = False,
    label: str = "",
    **recipe: Any,
) -> Any:
    """`env.Artifact(target, worker="script.py", modules=[...], inputs={...}, ...)`: a keyed,
    recalled action of the user's own. The script gets a job through phibuild's worker protocol, and
    can import its `modules`, files and folders beside it."""
    with read_phase():
        label = checked("label", label, _TEXT, "Artifact")
        toolchain = checked("toolchain", toolchain, _TEXT, "Artifact")
        network = checked("network", network, FieldRules("", "bool"), "Artifact")
        script, *others = code = [find(env, one) for one in (worker, *listed(modules))]
        is_expected = script.path.is_file() or script.node.has_builder()
        if not session().only_cleans and not is_expected:
            raise RecipeError(
                f"Artifact: there is no worker {script.path}",
                hint="name a Python script, or what a rule above builds",
                code="PHI205",
            )
        _use([script], "the worker")
        _use(others, "the module")
        found = {name: find(env, value) for name, value in _named(inputs).items()}
        action = PhiAction(
            name=script.path.stem,
            worker=script.path,
            worker_files=tuple(one.path for one in others),
            code_root=script.path.parent,
            toolchain=toolchain,
            recipe=_frozen(recipe),
            inputs=tuple((name, FileInput(str(one.path))) for name, one in sorted(found.items())),
            network=network,
        )
        return declare_action(
            env,
            target,
            action,
            sources=[*code, *found.values()],
            label=label or script.path.stem,
        )


def _named(inputs: Any) -> Mapping[str, Any]:
    """The inputs of a worker of the user's own; RecipeError PHI202 unless each has a name that can
    be a file's."""
    if inputs is None:
        return {}
    if isinstance(inputs, Mapping) and all(map(_is_file_name, inputs)):
        return inputs
    from phibuild.model.text import brief  # for errors only

    raise RecipeError(
        f"Artifact: inputs={brief(inputs)} is not a mapping of names to paths",
        hint='write inputs={"text": "in.txt"}, with a name that a file can have',
        code="PHI202",
    )


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and name[:1] not in "." and "/" not in name


def _frozen(recipe: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """RecipeError PHI202 for a value that a worker cannot be given."""
    for name, value in recipe.items():
        try:
            frozen_recipe({name: value})
        except (TypeError, ValueError, RecursionError):
            from phibuild.model.text import brief  # for errors only

            raise RecipeError(
                f"Artifact: {name}={brief(value)} is not a value of JSON",
                hint="pass numbers, texts, lists, and mappings of texts to them",
                code="PHI202",
            ) from None
    return frozen_recipe(recipe)


def declare_action(
    env: Any, target: Any, action: PhiAction, *, sources: list[Found], label: str
) -> Any:
    """An artifact that one action makes, of no backend and no model."""
    return _declare(
        env,
        target,
        format_name="artifact",
        label=label,
        model=None,
        what=Custom(action),
        sources=sources,
        toolchain=None,
    )


def _declare(
    env: Any,
    target: Any,
    *,
    format_name: str,
    label: str,
    model: Model | None,
    what: Conversion | Packaging | Generation | Programs | Custom,
    sources: list[Found],
    toolchain: str | None,
    nodes: tuple[str, ...] = (),
) -> Any:
    if toolchain is not None and not (isinstance(toolchain, str) and toolchain == "current"):
        from phibuild.model.text import brief  # for errors only

        raise RecipeError(
            f"toolchain={brief(toolchain)} is not possible",
            hint='leave it out for the locked toolchain, or write toolchain="current"',
            code="PHI202",
        )
    manifest = target_node(env, target)
    one = session()
    target_path = Path(manifest.get_abspath().removesuffix(SUFFIX))
    is_inside = target_path.is_relative_to(one.folder)
    declaration = Declaration(
        name=str(target_path.relative_to(one.folder) if is_inside else target_path),
        target=target_path,
        format=format_name,
        label=label,
        model=model.ref if model else None,
        what=what,
        current_interpreter=toolchain == "current",
    )
    _use(sources, "the input")
    files = (manifest, *(file_node(env, f"{target_path}/{name}") for name in nodes))
    one.declare(declaration, TargetClaim(target_path, declaration.name, nodes, files))
    own = one.environment
    own.Command(
        list(files),
        [*(model.nodes if model else ()), *(source.node for source in sources)],
        _action(),
        PHIBUILD_DECLARATION=declaration,
        PHIBUILD_SIGNATURE="" if one.only_cleans else _signature(declaration, model),
    )
    own.Precious(files)  # SCons would delete the old manifest before the new artifact is made
    own.NoCache(files)
    own.NoClean(files)  # `Clean` removes them if phibuild built them
    if one.only_cleans:
        own.Clean(manifest, one.cleaning.expect(one.shop, declaration))
    if not one.only_cleans and _is_damaged(declaration):
        own.AlwaysBuild(manifest)
    for position, typed in enumerate(BUILD_TARGETS):
        if one.folder / str(typed) == declaration.target:
            BUILD_TARGETS[position] = declaration.name
    return own.Alias(declaration.name, manifest)


def _use(sources: list[Found], what: str) -> None:
    """Claim files and folders that the build reads, but for its own targets."""
    one = session()
    for source in sources:
        if source.path not in one.declarations:
            is_file = isinstance(source.node, SCons.Node.FS.Base)
            built = is_file and source.node.has_builder()
            one.claims.use(Use(source.path, what, built=built))


def make_target(target: Any, source: Any, env: Any) -> None:
    """The one action function: recall or work, then tell what was made."""
    # A build with nothing to do needs none of what this imports.
    from phibuild.engine.building.realize import realize_target
    from phibuild.engine.disk import as_phi_error

    one = session()
    declaration: Declaration = env["PHIBUILD_DECLARATION"]
    try:
        one.begin()
        made = realize_target(one.shop, declaration)
    except (PhiError, OSError) as found:
        error = found if isinstance(found, PhiError) else as_phi_error(found)
        if error.code == "PHI406":  # SCons replaces what we raise by "Build interrupted."
            print(error, file=sys.stderr)
        raise SCons.Errors.BuildError(node=target[0], errstr=str(error)) from None
    one.finished(made)


def describe_target(target: Any, source: Any, env: Any) -> str:
    """What `scons -n` prints; a real build tells its progress itself."""
    declaration: Declaration = env["PHIBUILD_DECLARATION"]
    if not GetOption("no_exec"):
        return ""
    from phibuild.model.text import printable  # a real build does not come here

    return printable(f"make {declaration.name} ({declaration.format} {declaration.label})")


@cache
def _action() -> Any:
    """SCons digests the functions' code for each action that is made of them."""
    return Action(make_target, describe_target, varlist=["PHIBUILD_SIGNATURE"])


def _signature(declaration: Declaration, model: Model | None) -> str:
    action = declaration.action(model.facts if model else NO_MODEL)
    of_action = str(signature(session().shop, action, model.checkpoint if model else None))
    # What an answer must contain decides whether the target is built, and is in no key.
    what = declaration.what
    return f"{of_action} {what.expect}" if isinstance(what, Generation) else of_action


def _is_damaged(declaration: Declaration) -> bool:
    """Whether a manifest stands for files that were deleted or changed: SCons cannot see them."""
    shop = session().shop
    manifest = shop.manifest_of(declaration.target)
    if manifest is None:  # there is none, or it cannot be read
        return Path(f"{declaration.target}{SUFFIX}").exists()
    return not shop.is_made(declaration, manifest.tree)
