"""Edits a project's checkpoint again and again, and records the cost of each edit.

The stores are new and share only toolchains with the session's, so that every state of the
checkpoint can be built from nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from phibuild.engine.building.realize import realize_target, realize_tool
from phibuild.engine.declaration import Conversion, Declaration, ModelRef
from phibuild.engine.keys import recall
from phibuild.engine.reporter import Silent
from phibuild.engine.workshop import Workshop
from phibuild.model.manifest import Manifest
from phibuild.model.recipe import parse_recipe
from phibuild.store import Store, store_root
from phibuild.testing._checkpoints.tokenizer_files import as_json
from phibuild.testing.checkpoint_edits import (
    change_tensor,
    recognised,
    replace,
    reshard,
    set_chat_template,
)
from phibuild.testing.checkpoints import FAMILIES, spelt_files, write_checkpoint
from tests.backends.cases import CALLS, INT4
from tests.conftest import Project

Edit = Callable[[Path], object]
FAMILY = "phi-4-mini"


def fresh_store(root: Path) -> Path:
    """An empty store with the session's toolchains."""
    root.mkdir()
    for name in ("toolchains", "bytecode"):
        (store_root() / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(store_root() / name)
    return root


def store_with_llama_cpp(root: Path) -> Path:
    """A fresh store with the session's llama.cpp, which is an action result."""
    shop = Workshop.open()
    realize_tool(shop, "llama.cpp")
    build = shop.toolchains.native_build("llama.cpp")
    result = recall(shop, build, None)
    assert result is not None
    store = Store(fresh_store(root))
    for entry in result.tree.entries:
        store.object_path(entry).parent.mkdir(parents=True, exist_ok=True)
        store.object_path(entry).hardlink_to(shop.store.object_path(entry))
    store.record(result)
    return root


def declared(backend: str, names: Sequence[str]) -> str:
    """SConstruct lines with an artifact of each checkpoint, named after it."""
    return "".join(
        f"phi = env.PhiModel({name!r})\n"
        + CALLS[backend].format(name=name, precision="int4", more=INT4[backend])
        + "\n"
        for name in names
    )


def artifact_of(project: Project, backend: str, name: str) -> Path:
    """The artifact of one checkpoint of `declared`."""
    return project.folder / "dist" / f"{name}-{backend}"


def tree_of(artifact: Path) -> Mapping[str, str]:
    """The digests of an artifact's files by path, from its manifest."""
    path = Path(f"{artifact}.phi.json")
    entries = Manifest.from_text(path.read_text("utf-8"), where=str(path)).tree.entries
    return {entry.path: str(entry.digest) for entry in entries}


def change_json(name: str, change: Callable[[dict[str, Any]], object]) -> Edit:
    """An edit of one JSON file."""

    def edit(folder: Path) -> None:
        document = json.loads((folder / name).read_bytes())
        change(document)
        replace(folder / name, as_json(document))

    return edit


def respell_config(folder: Path) -> None:
    """Rewrite only config.json, as transformers 5 saves it."""
    family, size, dtype = recognised(json.loads((folder / "config.json").read_bytes()))
    spelt = spelt_files(family, size, dtype, chat_template="", spelling="transformers5")
    replace(folder / "config.json", spelt["config.json"])


def add_token(folder: Path) -> None:
    """Add a token in the files that the published checkpoints use."""
    token = {"content": "<|new|>", "lstrip": False, "normalized": False, "rstrip": False}
    token |= {"single_word": False, "special": True}
    change_json("tokenizer.json", lambda all: all["added_tokens"].append({"id": 1000, **token}))(
        folder
    )
    change_json(
        "tokenizer_config.json", lambda all: all["added_tokens_decoder"].update({"1000": token})
    )(folder)


def rename_shard(folder: Path) -> None:
    reshard(folder, 1)
    (folder / "model.safetensors").rename(folder / "all-of-it.safetensors")


def without_white_space(folder: Path) -> None:
    for path in folder.glob("*.json"):
        replace(path, json.dumps(json.loads(path.read_bytes())).encode())


NOTHING: dict[str, Edit] = {
    "config.json respelt": respell_config,
    "other shards": lambda folder: reshard(folder, 3),
    "one shard of another name": rename_shard,
    "README": lambda folder: replace(folder / "README.md", b"other words"),
    "licence": lambda folder: replace(folder / "LICENSE", b"other words"),
    "cosmetic fields": change_json("config.json", lambda all: all.update(_name_or_path="a/b")),
    "white space": without_white_space,
}
SIDECAR: dict[str, Edit] = {
    "chat template": lambda folder: set_chat_template(folder, "{{ messages[0]['content'] }}"),
    "ends of text": change_json("generation_config.json", lambda all: all.update(eos_token_id=976)),
    "ids of config.json": change_json("config.json", lambda all: all.update(bos_token_id=976)),
    "sampling": change_json(
        "generation_config.json", lambda all: all.update(do_sample=True, temperature=0.7, top_k=20)
    ),
    "no generation_config.json": lambda folder: (folder / "generation_config.json").unlink(),
    "added token": add_token,
    "merges": change_json("tokenizer.json", lambda all: all["model"]["merges"].pop()),
    "tokenizer respelt": change_json(
        "tokenizer_config.json", lambda all: all.update(tokenizer_class="PreTrainedTokenizerFast")
    ),
}
WEIGHTS: dict[str, Edit] = {
    "one tensor": lambda folder: change_tensor(folder, "model.layers.0.self_attn.o_proj.weight"),
}
EDITS = NOTHING | SIDECAR | WEIGHTS


@dataclass(frozen=True)
class Row:
    """The actions after an edit, and the artifact's files."""

    actions: list[str]
    tree: Mapping[str, str]


@dataclass(frozen=True)
class EditHistory:
    """`rows` by name, for edits made one after the other; `before` is the state before the first,
    with copies `source` and `artifact`; `clean` has the artifacts of each state, built from
    nothing."""

    source: Path
    artifact: Path
    before: Row
    rows: Mapping[str, Row]
    clean: Mapping[str, Mapping[str, str]]


def build_families(backend: str, place: Path, families: Sequence[str]) -> Project:
    """A project with an artifact of each family, named after it."""
    project = Project(place, {"PHIBUILD_STORE": str(fresh_store(place / "store"))})
    for family in families:
        write_checkpoint(place / family, FAMILIES[family], layers=2)
    project.sconstruct(declared(backend, families))
    ran = project.scons("-j2")
    assert ran.status == 0, ran.text
    return project


def run_toolkit(backend: str, program: str, *arguments: str | Path) -> str:
    """The output of a Python program under a backend's toolchain, without the network."""
    done = subprocess.run(
        [Workshop.open().toolchains.python_of(backend), "-c", program, *arguments],
        env=os.environ | OFFLINE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "GIT_DIR": os.devnull,
    "PYTHONPYCACHEPREFIX": str(store_root() / "bytecode"),
}


class _ProgressTexts(Silent):
    """Collects the texts of all progress reports."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        self.texts.append(text)


def progress_of(
    builder: str, fields: Mapping[str, Any], checkpoint: Path, artifact: Path
) -> list[str]:
    """Build an artifact with the session's store, and return the texts of its progress."""
    progress = _ProgressTexts()
    shop = Workshop.open(progress)
    offer = shop.registry.backend_of_builder(builder)
    recipe = parse_recipe(offer.recipe, fields, builder=builder)
    declaration = Declaration(
        name=artifact.name,
        target=artifact,
        origin=Conversion(offer, recipe, {}),
        model=ModelRef(checkpoint),
    )
    realize_target(shop, declaration)
    return progress.texts


def files_of(folder: Path) -> dict[str, Path]:
    """The files in a folder by their paths inside."""
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir()}


def same_tokenizer(first: Path, second: Path) -> bool:
    """Whether two tokenizer.json files describe the same tokenizer."""
    from tokenizers import Tokenizer

    texts = {Tokenizer.from_file(str(path)).to_str() for path in (first, second)}
    return len(texts) == 1


def edit_all(backend: str, place: Path) -> EditHistory:
    """Build, edit and build, edit and build; then build each state from nothing."""
    place.mkdir()
    states = place / "states"
    states.mkdir()
    project = Project(states, {"PHIBUILD_STORE": str(fresh_store(place / "store"))})
    model = write_checkpoint(states / "tiny", FAMILIES[FAMILY], layers=2)
    project.sconstruct(declared(backend, ["tiny"]))

    def built() -> Row:
        ran = project.scons()
        assert ran.status == 0, ran.text
        return Row(ran.actions, tree_of(artifact_of(project, backend, "tiny")))

    before = built()
    shutil.copytree(artifact_of(project, backend, "tiny"), place / "before")
    shutil.copytree(model, place / "source")
    rows = {}
    names = {}
    for number, (name, edit) in enumerate(EDITS.items()):
        edit(model)
        rows[name] = built()
        names[name] = f"state-{number}"
        shutil.copytree(model, states / names[name])
    project.sconstruct(declared(backend, list(names.values())))
    store = str(fresh_store(place / "clean-store"))
    ran = project.scons("-j2", PHIBUILD_STORE=store)
    assert ran.status == 0, ran.text
    clean = {name: tree_of(artifact_of(project, backend, state)) for name, state in names.items()}
    return EditHistory(place / "source", place / "before", before, rows, clean)


class EditTable:
    """The cost of each edit for a backend with a weights and a sidecar action. `shown_in` are the
    artifact's files that an edit changes."""

    backend: ClassVar[str]
    shown_in: ClassVar[dict[str, set[str]]]

    @pytest.fixture(scope="class")
    @classmethod
    def edited(cls, tmp_path_factory: pytest.TempPathFactory) -> EditHistory:
        """The checkpoint and artifact after each edit."""
        return edit_all(cls.backend, tmp_path_factory.mktemp(cls.backend) / "edited")

    def test_a_clean_build_runs_both_actions(self, edited: EditHistory) -> None:
        assert edited.before.actions == [f"{self.backend}.weights", f"{self.backend}.sidecar"]

    @pytest.mark.parametrize("name", EDITS)
    def test_an_edit_runs_the_action_that_reads_it(self, edited: EditHistory, name: str) -> None:
        expected = {**dict.fromkeys(NOTHING), **dict.fromkeys(SIDECAR, f"{self.backend}.sidecar")}
        expected |= dict.fromkeys(WEIGHTS, f"{self.backend}.weights")
        assert edited.rows[name].actions == ([expected[name]] if expected[name] else [])

    @pytest.mark.parametrize("name", EDITS)
    def test_after_an_edit_the_artifact_equals_a_clean_build(
        self, edited: EditHistory, name: str
    ) -> None:
        assert edited.rows[name].tree == edited.clean[name]

    def test_an_edit_changes_the_files_that_depend_on_it(self, edited: EditHistory) -> None:
        trees = [edited.before.tree, *(row.tree for row in edited.rows.values())]
        changed = {
            name: {path for path in before.keys() | after if before.get(path) != after.get(path)}
            for name, before, after in zip(EDITS, trees, trees[1:], strict=False)
        }
        assert changed == {name: set() for name in NOTHING} | self.shown_in
