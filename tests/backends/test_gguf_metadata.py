"""The metadata of a GGUF file is that of llama.cpp's converter, and an edit costs what it touched.

The actions are driven through the engine; metadata is compared as bytes, types and order included.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from phibuild_gguf.actions import metadata_action
from phibuild_gguf.format.header import read_header
from phibuild_gguf.format.values import read_values, strings
from phibuild_gguf.recipe import GgufRecipe

import phibuild.worker
from phibuild.api import Action
from phibuild.engine.building.realize import realize_target, realize_tool
from phibuild.engine.declaration import Conversion, Declaration, ModelRef, model_facts
from phibuild.engine.workshop import Workshop
from phibuild.model.action import SLICES, Slice
from phibuild.source import lay_out
from phibuild.testing.checkpoint_edits import change_tensor, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends import plain_converter

pytestmark = pytest.mark.toolchain
RECIPE = GgufRecipe(quant="F16")
OF_TYPES = ("general.file_type", "general.quantization_version")
Edit = Callable[[Path], object]

# Edits of a checkpoint


def edit_json(name: str, **fields: object) -> Edit:
    """Set fields of a document, or remove those that are None."""

    def edit(folder: Path) -> None:
        path = folder / name
        document = json.loads(path.read_text()) if path.exists() else {}
        kept = {key: value for key, value in (document | fields).items() if value is not None}
        path.write_text(json.dumps(kept))

    return edit


def add_token(content: str) -> Edit:
    """One more added token, in a row that no token had."""

    def edit(folder: Path) -> None:
        path = folder / "tokenizer.json"
        document = json.loads(path.read_text())
        last = max(document["added_tokens"], key=lambda token: int(token["id"]))
        document["added_tokens"].append({**last, "id": last["id"] + 1, "content": content})
        path.write_text(json.dumps(document))

    return edit


def without_post_processor(folder: Path) -> None:
    document = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(document | {"post_processor": None}))


def nothing(folder: Path) -> None: ...


NAMED = [
    {"name": "tool use", "template": "{{ t }}"},
    {"name": "default", "template": "{{ d }}"},
    {"name": "rag", "template": "{{ r }}"},
]
SAMPLING = {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.1}


def all_of(*edits: Edit) -> Edit:
    def edit(folder: Path) -> None:
        for apply in edits:
            apply(folder)

    return edit


# Equality


@dataclasses.dataclass(frozen=True)
class Case:
    """A checkpoint of ours, and the published one whose plain conversion its metadata equals."""

    family: str
    spelling: Any = "published"
    edit: Edit = nothing
    plain_edit: Edit | None = None


CASES = {
    **{
        f"{family} {how}": Case(family, how)
        for family in FAMILIES
        for how in ("published", "transformers5")
    },
    "named templates": Case("phi-3", edit=edit_json("tokenizer_config.json", chat_template=NAMED)),
    "sampling settings": Case("phi-3.5", edit=edit_json("generation_config.json", **SAMPLING)),
    "ids in config.json alone": Case(
        "phi-4-mini",
        edit=all_of(
            edit_json("tokenizer_config.json", eos_token=None, pad_token=None, bos_token=None),
            edit_json("config.json", eos_token_id=7, pad_token_id=8),
        ),
    ),
    "no template": Case("phi-3", edit=edit_json("tokenizer_config.json", chat_template=None)),
    # The newer spelling has in tokenizer.json what the older has in tokenizer_config.json.
    "a post processor that does nothing": Case(
        "phi-4-mini",
        "transformers5",
        edit=without_post_processor,
        plain_edit=without_post_processor,
    ),
    "a SentencePiece tokenizer whose post processor does nothing": Case(
        "phi-3",
        "transformers5",
        edit=without_post_processor,
        plain_edit=without_post_processor,
    ),
}
PRE_TOKENIZERS = {"phi-2": "gpt-2", "phi-4-mini": "gpt-4o"}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Our file and the plain converter's for each case."""
    root = tmp_path_factory.mktemp("compared")
    shop = Workshop.open()
    lines: list[dict[str, str]] = []
    files: dict[str, tuple[Path, Path]] = {}
    finishing: list[tuple[Path, Action]] = []
    for position, (name, case) in enumerate(CASES.items()):
        folder = root / str(position)

        def view(source: Path, slices: tuple[Slice, ...], name: str) -> str:
            # The converter searches the folder's name for a size and a version.
            place = source.parent / name / "model"
            place.parent.mkdir()
            lay_out(shop.sources.checkpoint(source), slices, place)
            return str(place)

        ours = write_checkpoint(
            folder / "ours", FAMILIES[case.family], spelling=case.spelling, layers=1
        )
        case.edit(ours)
        theirs = write_checkpoint(folder / "theirs", FAMILIES[case.family], layers=1)
        (case.plain_edit or case.edit)(theirs)
        step = metadata_action(RECIPE, model_facts(shop.sources.checkpoint(ours)))
        assert isinstance(step, Action)
        ((_, vocabulary),) = step.inputs
        assert isinstance(vocabulary, Action)
        lines += [
            {
                "model": view(theirs, SLICES, "all"),
                "output": str(folder / "plain.gguf"),
                "name": "Phi" if case.family in PRE_TOKENIZERS else "Phi-3",
                "pre_tokenizer": PRE_TOKENIZERS.get(case.family, ""),
            },
            {
                "model": view(ours, vocabulary.slices, "some"),
                "output": str(folder / "vocabulary"),
            },
        ]
        view(ours, step.slices, "others")
        finishing.append((folder, step))
        files[name] = (folder / "ours.gguf", folder / "plain.gguf")
    ran = subprocess.run(
        [
            shop.toolchains.python_of("gguf"),
            plain_converter.__file__,
            realize_tool(shop, "llama.cpp"),
        ],
        input="\n".join(map(json.dumps, lines)),
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(phibuild.worker.__file__).parent))
        worker = importlib.import_module("phibuild_gguf.metadata.worker_metadata")
        for folder, step in finishing:
            job = worker.phiworker.Job(
                name=step.name,
                inputs={"model": folder / "others/model", "vocabulary": folder / "vocabulary"},
                output=folder / "ours.gguf",
                recipe={name: json.loads(value) for name, value in step.recipe},
                tools={},
                scratch=folder,
                threads=1,
                identity="",
                tensors=(),
            )
            worker.main(job)
    return files


@pytest.mark.parametrize("case", CASES)
def test_the_metadata_is_that_of_the_converter(
    compared: dict[str, tuple[Path, Path]], case: str
) -> None:
    ours, plain = (read_values(path) for path in compared[case])
    for key in OF_TYPES:
        del plain[key]
    templates = plain.get("tokenizer.chat_templates")
    if templates is not None:  # the converter writes the names in any order
        assert templates in (strings(["tool_use", "rag"]), strings(["rag", "tool_use"]))
        plain["tokenizer.chat_templates"] = strings(["tool_use", "rag"])
    assert list(ours) == list(plain)
    assert ours == plain


# Edits


@dataclasses.dataclass(frozen=True)
class Built:
    """A checkpoint and the path of its metadata."""

    checkpoint: Path
    target: Path

    def ran(self) -> tuple[str, ...]:
        """Build it as a new process would; returns the actions that ran."""
        shop = Workshop.open()
        backend = shop.registry.backends["GGUF"]._replace(
            plan=lambda recipe, model, extras: metadata_action(recipe, model),
        )
        declaration = Declaration(
            name=self.target.name,
            target=self.target,
            origin=Conversion(backend, RECIPE, {}),
            model=ModelRef(self.checkpoint),
        )
        return realize_target(shop, declaration).ran


def test_an_edit_runs_only_the_actions_that_it_affects(tmp_path: Path, seed: int) -> None:
    checkpoint = write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=1, seed=seed)
    add_token(f"<|{seed}|>")(checkpoint)  # no earlier run has this vocabulary
    built = Built(checkpoint, tmp_path / "head.gguf")
    assert built.ran() == ("gguf.vocabulary", "gguf.metadata")
    clean = built.target.read_bytes()

    set_chat_template(checkpoint, "{{ 'other' }}")
    assert built.ran() == ("gguf.metadata",)
    assert read_header(built.target).value("tokenizer.chat_template") == "{{ 'other' }}"
    edit_json("generation_config.json", temperature=0.5)(checkpoint)
    assert built.ran() == ("gguf.metadata",)
    assert read_header(built.target).value("general.sampling.temp") == 0.5
    for name in ("config.json", "generation_config.json"):
        edit_json(name, eos_token_id=3)(checkpoint)
        assert built.ran() == ("gguf.metadata",), name

    (checkpoint / "README.md").write_text("other words")
    change_tensor(checkpoint, "model.norm.weight")
    edit_json("config.json", use_cache=None, _name_or_path="elsewhere")(checkpoint)
    assert built.ran() == ()

    before = read_header(built.target)
    add_token("<|one more|>")(checkpoint)
    assert built.ran() == ("gguf.vocabulary", "gguf.metadata")
    assert read_header(built.target).key_values != before.key_values
    assert built.target.read_bytes() != clean
