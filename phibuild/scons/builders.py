"""The builders: each turns a call in an SConstruct into a declaration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phibuild.engine.declaration import Conversion, Custom, Generation, ModelRef, Packaging
from phibuild.model.action import HOST, Action, Assembly, files_of
from phibuild.model.errors import RecipeError
from phibuild.model.recipe import parse_recipe
from phibuild.offers import ArtifactFacts, Backend, Packager, Runtime
from phibuild.scons import arguments
from phibuild.scons.models import Model, as_model
from phibuild.scons.session import session
from phibuild.scons.targets import claim_sources, declare_target
from phibuild.scons.translate import Source, find, listed, read_phase, single


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
        extras = arguments.take_extras(env, backend, fields)
        recipe = parse_recipe(backend.recipe, fields, builder=backend.builder)
        return declare_target(
            env,
            target,
            Conversion(backend, recipe, arguments.file_inputs(extras)),
            model=source,
            sources=list(extras.values()),
            current_interpreter=arguments.is_current(toolchain),
        )


def declare_packaging(
    packager: Packager, env: Any, target: Any, artifact: Any = None, **fields: Any
) -> Any:
    """`env.<Builder>(target, artifact, **recipe)`: an artifact wrapped for a device."""
    with read_phase():
        source = find(env, artifact)
        extras = arguments.take_extras(env, packager, fields)
        recipe = parse_recipe(packager.recipe, fields, builder=packager.builder)
        declared = session().declarations.get(source.path)
        about, model = ArtifactFacts(), None
        if declared is not None:
            about = declared.artifact_facts
            model = _same_model(declared.model)
        return declare_target(
            env,
            target,
            Packaging(packager, recipe, source.path, about, arguments.file_inputs(extras)),
            model=model,
            sources=[source, *extras.values()],
            nodes=packager.nodes(recipe),
        )


def _same_model(ref: ModelRef | None) -> Model | None:
    """The model of another target, for its digests only; that target waits for its nodes."""
    if ref is None:
        return None
    if ref.is_target or session().only_cleans:
        return Model(ref)
    return Model(ref, checkpoint=session().shop.sources.checkpoint(ref.folder))


def declare_runtime(runtime: Runtime, env: Any, target: Any, **fields: Any) -> Any:
    """`env.<Builder>(target, **recipe)`: the programs that run artifacts on a device."""
    with read_phase():
        recipe = parse_recipe(runtime.recipe, fields, builder=runtime.builder)
        # A plan may need compilers, and cleaning none.
        is_planned = not session().only_cleans
        step = runtime.plan(recipe) if is_planned else Assembly(runtime.builder, ())
        return declare_target(
            env,
            target,
            Custom(step, runtime.label(recipe), runtime.format, "tree"),
            sources=[find(env, file.path) for file in files_of(step)],
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
    """`env.Generate(target, artifact, prompt=..., expect=...)`: prompt an artifact in its own
    runtime, through its chat template; the build fails unless the answer contains `expect`."""
    with read_phase():
        prompt = arguments.text("prompt", prompt, "Generate")
        expect = arguments.text("expect", expect, "Generate")
        max_tokens = arguments.count("max_tokens", max_tokens, "Generate")
        source = find(env, artifact)
        declared = session().declarations.get(source.path)
        if declared is None:
            raise RecipeError(
                f"{single(artifact, 'artifact')} is not an artifact of this SConstruct",
                hint="pass what env.GGUF(...) or another builder returned",
                code="PHI205",
            )
        evaluator = session().shop.registry.evaluator(declared.format)
        return declare_target(
            env,
            target,
            Generation(evaluator, source.path, declared.name, prompt, max_tokens, expect),
            sources=[source],
            current_interpreter=arguments.is_current(toolchain),
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
        label = arguments.text("label", label, "Artifact")
        toolchain = arguments.text("toolchain", toolchain, "Artifact")
        network = arguments.flag("network", network, "Artifact")
        script, *others = code = [find(env, source) for source in (worker, *listed(modules))]
        is_expected = script.path.is_file() or script.node.has_builder()
        if not session().only_cleans and not is_expected:
            raise RecipeError(
                f"Artifact: the worker {script.path} does not exist",
                hint="name a Python script, or a file that a rule above builds",
                code="PHI205",
            )
        claim_sources([script], "the worker")
        claim_sources(others, "the module")
        files = arguments.named_inputs(env, inputs)
        action = Action(
            name=script.path.stem,
            worker=script.path,
            worker_files=tuple(source.path for source in others),
            code_root=script.path.parent,
            toolchain=toolchain,
            recipe=arguments.json_fields(recipe),
            inputs=tuple(arguments.file_inputs(files).items()),
            network=network,
        )
        sources = [*code, *files.values()]
        return declare_action(env, target, action, sources, label=label or script.path.stem)


def declare_action(
    env: Any, target: Any, action: Action, sources: Sequence[Source], *, label: str
) -> Any:
    """An artifact that one action makes, of no backend and no model."""
    return declare_target(env, target, Custom(action, label), sources=sources)
