"""A project whose checkpoint is edited again and again, and what each edit cost.

Everything happens in stores made for the purpose, which share nothing with the session's but the
installed toolchains: so a clean build can be had of any state that the checkpoint was in.
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
from phibuild.testing.checkpoint_edits import (
    change_tensor,
    recognised,
    replace,
    reshard,
    set_chat_template,
)
from phibuild.testing.checkpoints import FAMILIES, spelt_files, write_checkpoint
from phibuild.testing.tokenizer_files import as_json
from tests.backends.cases import CALLS, INT4
from tests.conftest import Project

Edit = Callable[[Path], object]
FAMILY = "phi-4-mini"


def fresh_store(place: Path) -> Path:
    """An empty store with the toolchains of the session's."""
    place.mkdir()
    for name in ("toolchains", "bytecode"):
        (store_root() / name).mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to(store_root() / name)
    return place


def store_with_llama_cpp(place: Path) -> Path:
    """The same with the session's llama.cpp, which is a result like any other."""
    shop = Workshop.open()
    realize_tool(shop, "llama.cpp")
    build = shop.toolchains.native_build("llama.cpp")
    result = recall(shop, build, None)
    assert result is not None
    store = Store(fresh_store(place))
    for entry in result.tree.entries:
        store.object_path(entry).parent.mkdir(parents=True, exist_ok=True)
        store.object_path(entry).hardlink_to(shop.store.object_path(entry))
    store.record(result)
    return place


def declared(backend: str, names: Sequence[str]) -> str:
    """SConstruct lines with one artifact of each checkpoint, named like it."""
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
    """The digests of an artifact's files by path, as its manifest has them."""
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
    """config.json alone as transformers 5 saves it."""
    family, size, dtype = recognised(json.loads((folder / "config.json").read_bytes()))
    spelt = spelt_files(family, size, dtype, chat_template="", spelling="transformers5")
    replace(folder / "config.json", spelt["config.json"])


def add_token(folder: Path) -> None:
    """A token more, where the published checkpoints have theirs."""
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
    """What one edit cost, and what the artifact was afterwards."""

    actions: list[str]
    tree: Mapping[str, str]


@dataclass(frozen=True)
class Edited:
    """`rows` by the name of the edit, each after the one before; `before` is the state before the
    first of them, with copies of `source` and `artifact`; `clean` is what a store that knew nothing
    makes of each state."""

    source: Path
    artifact: Path
    before: Row
    rows: Mapping[str, Row]
    clean: Mapping[str, Mapping[str, str]]


def build_families(backend: str, place: Path, families: Sequence[str]) -> Project:
    """A project with one artifact of each family, named like it."""
    project = Project(place, {"PHIBUILD_STORE": str(fresh_store(place / "store"))})
    for family in families:
        write_checkpoint(place / family, FAMILIES[family], layers=2)
    project.sconstruct(declared(backend, families))
    ran = project.scons("-j2")
    assert ran.status == 0, ran.text
    return project


def run_toolkit(backend: str, program: str, *arguments: str | Path) -> str:
    """What a Python program prints that runs under a backend's toolchain, without the network."""
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


class _Heard(Silent):
    """Remembers what actions say that they are doing."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        self.texts.append(text)


def told_of(builder: str, fields: Mapping[str, Any], checkpoint: Path, artifact: Path) -> list[str]:
    """Make an artifact true in the session's store, as a new process would; what was told."""
    heard = _Heard()
    shop = Workshop.open(heard)
    offer = shop.registry.backend_of_builder(builder)
    recipe = parse_recipe(offer.recipe, fields, builder=builder)
    declaration = Declaration(
        name=artifact.name,
        target=artifact,
        origin=Conversion(offer, recipe, {}),
        model=ModelRef(checkpoint),
    )
    realize_target(shop, declaration)
    return heard.texts


def files_of(folder: Path) -> dict[str, Path]:
    """The files in a folder by their paths inside."""
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir()}


def same_tokenizer(one: Path, other: Path) -> bool:
    """Whether two tokenizer.json files are of one tokenizer, however they spell it."""
    from tokenizers import Tokenizer

    return bool(Tokenizer.from_file(str(one)).to_str() == Tokenizer.from_file(str(other)).to_str())


def edit_all(backend: str, place: Path) -> Edited:
    """Build, edit and build, edit and build; then each state anew."""
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
    return Edited(place / "source", place / "before", before, rows, clean)


class EditTable:
    """What each edit costs a backend that has a weights and a sidecar action. `shown_in` are the
    files of the artifact in which an edit that is not for nothing shows."""

    backend: ClassVar[str]
    shown_in: ClassVar[dict[str, set[str]]]

    @pytest.fixture(scope="class")
    @classmethod
    def edited(cls, tmp_path_factory: pytest.TempPathFactory) -> Edited:
        """The checkpoint after all edits, and what each did."""
        return edit_all(cls.backend, tmp_path_factory.mktemp(cls.backend) / "edited")

    def test_a_clean_build_runs_both_actions(self, edited: Edited) -> None:
        assert edited.before.actions == [f"{self.backend}.weights", f"{self.backend}.sidecar"]

    @pytest.mark.parametrize("name", EDITS)
    def test_an_edit_runs_the_action_that_reads_it(self, edited: Edited, name: str) -> None:
        expected = {**dict.fromkeys(NOTHING), **dict.fromkeys(SIDECAR, f"{self.backend}.sidecar")}
        expected |= dict.fromkeys(WEIGHTS, f"{self.backend}.weights")
        assert edited.rows[name].actions == ([expected[name]] if expected[name] else [])

    @pytest.mark.parametrize("name", EDITS)
    def test_after_an_edit_the_artifact_is_that_of_a_clean_build(
        self, edited: Edited, name: str
    ) -> None:
        assert edited.rows[name].tree == edited.clean[name]

    def test_edits_leave_their_mark_where_they_belong(self, edited: Edited) -> None:
        """The rows above are of edits that the artifact shows, but for the last."""
        trees = [edited.before.tree, *(row.tree for row in edited.rows.values())]
        changed = {
            name: {path for path in before.keys() | after if before.get(path) != after.get(path)}
            for name, before, after in zip(EDITS, trees, trees[1:], strict=False)
        }
        assert changed == {name: set() for name in NOTHING} | self.shown_in
