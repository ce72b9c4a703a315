"""OpenVINO: the cost of an edit; the artifact equals optimum-cli's output for the edited
checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from phibuild_openvino.ir_writer import renumbered

from phibuild.engine.workshop import Workshop
from phibuild.registry import load_registry
from phibuild.store import Store, store_root
from phibuild.testing.checkpoint_edits import change_tensor, reshard, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.cases import artifact, path
from tests.backends.slices import fresh_store
from tests.conftest import Project

pytestmark = pytest.mark.toolchain
WEIGHTS, TOKENIZER, SIDECAR = "openvino.weights", "openvino.tokenizer", "openvino.sidecar"
INT4 = ("--weight-format", "int4", "--group-size", "64", "--ratio", "1.0")
OPTIMUM = """\
import json, sys
from optimum.commands.optimum_cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["optimum-cli", "export", "openvino", *arguments]
    main()
"""
ODD_TEMPLATE = (
    "{# <a> & \"b\" 'c' é ]]> \\n #}\n{% for m in messages %}\n\t{{ m.content }}{% endfor %}"
)
ODD_NAME = "9 ways & <tools>"
COSMETIC = {
    "config.json": {"auto_map"},
    "generation_config.json": {"_from_model_config", "use_cache"},
}
"""Fields that phibuild leaves out of a checkpoint's files: an edit of them costs nothing."""

Edit = Callable[[Path], None]


def change_json(document: Path, **changes: object) -> None:
    document.write_text(json.dumps(json.loads(document.read_text()) | changes))


def add_a_token(checkpoint: Path) -> None:
    document = checkpoint / "tokenizer.json"
    tokens = json.loads(document.read_text())["added_tokens"]
    number = max(token["id"] for token in tokens) + 1
    added = tokens[-1] | {"id": number, "content": "<|added|>"}
    change_json(document, added_tokens=[*tokens, added])


def name_templates(checkpoint: Path) -> None:
    names = ("default", "tool_use")
    templates = [{"name": name, "template": f"{name}: {ODD_TEMPLATE}"} for name in names]
    change_json(checkpoint / "tokenizer_config.json", chat_template=templates)


def put_templates_into_files(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").write_text(ODD_TEMPLATE)
    folder = checkpoint / "additional_chat_templates"
    folder.mkdir()
    for name in ("rag", ODD_NAME):
        (folder / f"{name}.jinja").write_text(f"{name}: {ODD_TEMPLATE}")


def change_eos_ids(checkpoint: Path) -> None:
    change_json(checkpoint / "config.json", eos_token_id=7)
    change_json(checkpoint / "generation_config.json", eos_token_id=[7, 8])


def change_sampling(checkpoint: Path) -> None:
    settings = {"do_sample": True, "temperature": 0.7, "top_k": None}
    change_json(checkpoint / "generation_config.json", **settings)


def change_a_tensor(checkpoint: Path) -> None:
    change_tensor(checkpoint, "model.layers.0.self_attn.o_proj.weight")


def everything(checkpoint: Path) -> None:
    for edit, _, _ in COSTLY_EDITS.values():
        if edit not in (name_templates, put_templates_into_files):
            edit(checkpoint)


def respell_config(checkpoint: Path) -> None:
    other = write_checkpoint(
        checkpoint.with_name("other"), FAMILIES["phi-3"], layers=1, spelling="transformers5"
    )
    shutil.copyfile(other / "config.json", checkpoint / "config.json")


def leave_out_what_may_be_missing(checkpoint: Path) -> None:
    set_chat_template(checkpoint, "")
    (checkpoint / "generation_config.json").unlink()


IRS = {"openvino_tokenizer.xml", "openvino_detokenizer.xml"}
TOKENIZER_FILES = {"openvino_tokenizer.bin", "openvino_detokenizer.bin", "tokenizer.json"}
COSTLY_EDITS: dict[str, tuple[Edit, list[str], set[str]]] = {
    "template": (
        lambda folder: set_chat_template(folder, ODD_TEMPLATE),
        [SIDECAR],
        {"chat_template.jinja"} | IRS,
    ),
    "templates": (
        name_templates,
        [SIDECAR],
        {"chat_template.jinja", "additional_chat_templates/tool_use.jinja"} | IRS,
    ),
    "files of templates": (
        put_templates_into_files,
        [SIDECAR],
        {
            "chat_template.jinja",
            "additional_chat_templates/rag.jinja",
            f"additional_chat_templates/{ODD_NAME}.jinja",
        }
        | IRS,
    ),
    "eos": (change_eos_ids, [SIDECAR], {"config.json", "generation_config.json"}),
    "sampling": (change_sampling, [SIDECAR], {"generation_config.json"}),
    "tokenizer": (add_a_token, [TOKENIZER, SIDECAR], TOKENIZER_FILES | IRS),
    "tensor": (change_a_tensor, [WEIGHTS], {"openvino_model.bin"}),
}
"""By edit, the actions that run and the files that change."""
FREE_EDITS: dict[str, Edit] = {
    "readme": lambda folder: (folder / "README.md").unlink(),
    "cosmetic fields": lambda folder: change_json(folder / "config.json", use_cache=False),
    "white space": lambda folder: change_json(folder / "tokenizer.json"),
    "shards": lambda folder: reshard(folder, 3),
    "spelling": respell_config,
}


class Models:
    """Checkpoints that differ in one edit, and their artifacts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seed = time.time_ns() % (1 << 31)

    def checkpoint(self, name: str, edit: Edit, family: str = "phi-3") -> Path:
        folder = self.folder / name / "tiny"
        write_checkpoint(folder, FAMILIES[family], layers=1, seed=self._seed)
        edit(folder)
        return folder

    def build(self, name: str, precision: str = "int4", *, store: str = "store") -> list[str]:
        """The actions that ran for the artifact of this checkpoint. The store shares only
        toolchains with the session's."""
        root = self.folder / store
        if not root.exists():
            fresh_store(root)
        project = Project(self.folder / name, {"PHIBUILD_STORE": str(root)})
        project.sconstruct(artifact("openvino", precision))
        ran = project.scons()
        assert ran.status == 0, ran.text
        return ran.actions

    def artifact(self, name: str) -> Path:
        return self.folder / name / path("openvino")

    def files(self, name: str) -> set[tuple[str, str]]:
        """Path and digest of every file of the artifact."""
        manifest = json.loads(Path(f"{self.artifact(name)}.phi.json").read_text())
        return {(file["path"], file["digest"]) for file in manifest["files"]}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The artifact of the unedited checkpoint is built; the edited checkpoints are only written."""
    models = Models(tmp_path_factory.mktemp("models"))
    models.checkpoint("unedited", lambda folder: None)
    for name, (edit, _, _) in COSTLY_EDITS.items():
        models.checkpoint(name, edit)
    models.checkpoint("everything", everything)
    models.checkpoint("int8", lambda folder: None)
    models.checkpoint("fp16", leave_out_what_may_be_missing, "phi-3.5-moe")
    assert models.build("unedited") == [WEIGHTS, TOKENIZER, SIDECAR]
    return models


@pytest.fixture(scope="module")
def by_optimum(models: Models) -> Path:
    """The output of optimum-cli for the same checkpoints, one after the other in one process."""
    out = models.folder / "by-optimum"
    options = {
        "everything": INT4,
        "templates": INT4,
        "files of templates": INT4,
        "int8": ("--weight-format", "int8"),
        "fp16": ("--weight-format", "fp16"),
    }
    task = ("--task", "text-generation-with-past", "--library", "transformers")
    commands = [
        ["-m", str(models.folder / name / "tiny"), *task, *given, str(out / name)]
        for name, given in options.items()
    ]
    shop = Workshop.of(Store(store_root()), load_registry())
    environment = {
        "HOME": str(models.folder),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPYCACHEPREFIX": str(shop.store.root / "bytecode"),
    }
    done = subprocess.run(
        [shop.toolchains.python_of("openvino"), "-s", "-c", OPTIMUM, json.dumps(commands)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return out


@pytest.mark.parametrize("name", COSTLY_EDITS)
def test_an_edit_costs_what_it_touched(models: Models, name: str) -> None:
    _, actions, changed = COSTLY_EDITS[name]
    assert models.build(name) == actions
    assert {path for path, _ in models.files(name) ^ models.files("unedited")} == changed


@pytest.mark.parametrize("name", FREE_EDITS)
def test_an_edit_outside_of_all_slices_costs_nothing(models: Models, name: str) -> None:
    models.checkpoint(name, FREE_EDITS[name])
    assert models.build(name) == []


def test_all_edits_together_equal_a_clean_build(models: Models) -> None:
    models.build("everything")
    models.checkpoint("clean", everything)
    assert models.build("clean", store="another-store") == [WEIGHTS, TOKENIZER, SIDECAR]
    assert models.files("clean") == models.files("everything")


@pytest.mark.parametrize(
    ("name", "precision", "actions"),
    [
        ("everything", "int4", None),
        ("templates", "int4", None),
        ("files of templates", "int4", None),
        ("int8", "int8", [WEIGHTS]),  # shares tokenizer and sidecar with int4
        ("fp16", "fp16", [WEIGHTS, TOKENIZER, SIDECAR]),
    ],
)
def test_the_artifact_equals_optimums_output(
    models: Models, by_optimum: Path, name: str, precision: str, actions: list[str] | None
) -> None:
    ran = models.build(name, precision)
    assert actions is None or ran == actions
    assert_equal(models.artifact(name), by_optimum / name)


def assert_equal(ours: Path, theirs: Path) -> None:
    """The same files with the same bytes, except for running numbers in an IR's XML, white space in
    JSON, and the fields that the plugin's README lists."""
    written, expected = (dict(contents(folder)) for folder in (ours, theirs))
    assert written.keys() == expected.keys()
    for name in written:
        assert written[name] == expected[name], name


def contents(folder: Path) -> Iterator[tuple[str, object]]:
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if name == "openvino_config.json":
            continue
        if file.suffix == ".json":
            fields = json.loads(file.read_text())
            left_out = COSMETIC.get(name, set())
            yield name, {field: value for field, value in fields.items() if field not in left_out}
        elif file.suffix == ".xml":
            yield name, renumbered(file.read_bytes().decode()).splitlines()
        elif file.is_file():
            yield name, file.read_bytes()
