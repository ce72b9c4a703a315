"""Random edits of a checkpoint and of its SConstruct, built one after the other: the last artifacts
equal those of an empty store, byte for byte.

All examples of a test share the store of the edited projects, so that it has ever more results that
could be mistaken for others. RANDOM_EDITS=200 runs 200 random examples of each test:

    RANDOM_EDITS=200 ./run pytest tests/backends/test_random_edits.py
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from phibuild.testing._checkpoints.shards import read_tensors
from phibuild.testing.checkpoint_edits import change_tensor, replace, reshard, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.slices import FAMILY, NOTHING, SIDECAR, store_with_llama_cpp, tree_of
from tests.conftest import Project

pytestmark = pytest.mark.toolchain

EXAMPLES = int(os.environ.get("RANDOM_EDITS", "0"))
NUMBERS = itertools.count()


@dataclass
class State:
    """An edited project: the recipe fields of its SConstruct, and copies of the checkpoint before
    each edit."""

    project: Project
    lines: str
    fields: dict[str, str]
    earlier: list[Path]

    @property
    def checkpoint(self) -> Path:
        return self.project.folder / "tiny"

    def artifacts(self) -> list[Path]:
        manifests = sorted((self.project.folder / "dist").glob("*.phi.json"))
        return [path.with_name(path.name.removesuffix(".phi.json")) for path in manifests]

    def files(self) -> list[Path]:
        return [
            path
            for artifact in self.artifacts()
            for path in ([artifact] if artifact.is_file() else sorted(artifact.rglob("*")))
            if path.is_file()
        ]

    def write_sconstruct(self) -> None:
        text = 'phi = env.PhiModel("tiny")\n' + self.lines.format(**self.fields)
        self.project.sconstruct(text)

    def build(self, store: Path | None = None) -> dict[str, object]:
        ran = self.project.scons("-j2", **({"PHIBUILD_STORE": str(store)} if store else {}))
        assert ran.status == 0, ran.text
        return {artifact.name: tree_of(artifact) for artifact in self.artifacts()}


Edit = Callable[[State], None]


def of_checkpoint(name: str) -> Edit:
    """An edit of the edit table; some cannot be made a second time."""

    def edit(state: State) -> None:
        try:
            (NOTHING | SIDECAR)[name](state.checkpoint)
        except (FileNotFoundError, KeyError, ValueError):
            replace(state.checkpoint / "README.md", name.encode())

    return edit


def of_tensor(number: int, *, keeps_time: bool) -> Edit:
    def edit(state: State) -> None:
        names = [tensor.name for tensor in read_tensors(state.checkpoint)]
        shards = sorted(state.checkpoint.glob("*.safetensors"))
        times = {path: path.stat() for path in shards}
        change_tensor(state.checkpoint, names[number % len(names)])
        for path, stat in times.items():
            if keeps_time:
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return edit


def of_template(number: int) -> Edit:
    return lambda state: set_chat_template(state.checkpoint, f"{{{{ 'template {number}' }}}}")


def of_shards(count: int) -> Edit:
    return lambda state: reshard(state.checkpoint, count)


def of_field(name: str, value: str) -> Edit:
    return lambda state: state.fields.update({name: value})


def revert(state: State) -> None:
    """Restore the checkpoint before the last edit."""
    shutil.rmtree(state.checkpoint)
    shutil.copytree(state.earlier[max(len(state.earlier) - 2, 0)], state.checkpoint)


def of_output(number: int, *, deletes: bool) -> Edit:
    """Delete or damage a file of an artifact. It may be a link to the store's object, which must
    not be used afterwards either."""

    def edit(state: State) -> None:
        files = state.files()
        path = files[number % len(files)]
        if deletes:
            path.unlink()
            return
        content = bytearray(path.read_bytes())
        content[number % len(content)] ^= 1
        path.chmod(0o644)
        path.write_bytes(content)

    return edit


def forget_sconsign(state: State) -> None:
    (state.project.folder / ".sconsign.dblite").unlink(missing_ok=True)


def edit_with_name(fields: dict[str, list[str]]) -> st.SearchStrategy[tuple[str, Edit]]:
    """An edit with its description for a failing example."""
    numbers = st.integers(0, 40)
    few = st.integers(1, 4)
    choices = [(name, value) for name, values in fields.items() for value in values]
    return st.one_of(
        st.sampled_from([*NOTHING, *SIDECAR]).map(lambda name: (name, of_checkpoint(name))),
        st.tuples(numbers, st.booleans()).map(
            lambda drawn: (f"tensor {drawn}", of_tensor(drawn[0], keeps_time=drawn[1]))
        ),
        few.map(lambda number: (f"template {number}", of_template(number))),
        few.map(lambda count: (f"{count} shards", of_shards(count))),
        st.sampled_from(choices).map(lambda choice: (f"field {choice}", of_field(*choice))),
        st.just(("revert", revert)),
        st.tuples(numbers, st.booleans()).map(
            lambda drawn: (f"output {drawn}", of_output(drawn[0], deletes=drawn[1]))
        ),
        st.just(("no .sconsign.dblite", forget_sconsign)),
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("random")
    yield folder
    shutil.rmtree(folder)


def check(
    workspace: Path, lines: str, fields: dict[str, str], edits: list[tuple[str, Edit]]
) -> None:
    """Build, edit and build, edit and build; then build the last state from nothing."""
    store = workspace / "store"
    if not store.exists():
        store_with_llama_cpp(store)
    folder = workspace / f"example-{next(NUMBERS)}"
    folder.mkdir()
    project = Project(folder, {"PHIBUILD_STORE": str(store)})
    write_checkpoint(folder / "tiny", FAMILIES[FAMILY], layers=2)
    state = State(project, lines, fields, [])
    state.write_sconstruct()
    built = state.build()
    for _, edit in edits:
        before = folder / f"state-{len(state.earlier)}"
        shutil.copytree(state.checkpoint, before)
        state.earlier.append(before)
        edit(state)
        state.write_sconstruct()
        built = state.build()
    shutil.rmtree(folder / "dist")
    clean = state.build(store_with_llama_cpp(folder / "clean-store"))
    assert built == clean
    shutil.rmtree(folder)


def examples(default: int) -> settings:
    """The requested number of random examples, or a few fixed ones."""
    return settings(
        max_examples=EXAMPLES or default,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
    )


GGUF_AND_MLX = (
    'env.GGUF("dist/one.gguf", phi, quant="{one}")\n'
    'env.GGUF("dist/two.gguf", phi, quant="Q4_K_M"{overrides})\n'
    'env.GGUF("dist/split", phi, quant="Q5_0", split_max_size="{split}")\n'
    'env.MLX("dist/mlx", phi, bits={bits}, group_size=64)\n'
)
GGUF_AND_MLX_FIELDS = {
    "one": ["Q4_K_S", "Q8_0", "F16", "Q4_K_M"],
    "overrides": ["", ', overrides={"attn_qkv": "q8_0"}', ', token_embedding_type="q8_0"'],
    "split": ["400 KB", "1 MB"],
    "bits": ["4", "8"],
}
ONNX_AND_OPENVINO = (
    'env.OnnxGenAI("dist/onnx", phi, precision="{onnx}", execution_provider="cpu")\n'
    'env.OpenVINO("dist/ov", phi, precision="{openvino}")\n'
)
ONNX_AND_OPENVINO_FIELDS = {"onnx": ["int4", "fp32"], "openvino": ["int8", "fp16"]}


def first_of(fields: dict[str, list[str]]) -> dict[str, str]:
    return {name: values[0] for name, values in fields.items()}


@examples(default=3)
@given(drawn=st.lists(edit_with_name(GGUF_AND_MLX_FIELDS), min_size=2, max_size=5))
def test_gguf_and_mlx_equal_a_clean_build(workspace: Path, drawn: list[tuple[str, Edit]]) -> None:
    check(workspace, GGUF_AND_MLX, first_of(GGUF_AND_MLX_FIELDS), drawn)


@examples(default=2)
@given(drawn=st.lists(edit_with_name(ONNX_AND_OPENVINO_FIELDS), min_size=3, max_size=3))
def test_onnx_and_openvino_equal_a_clean_build(
    workspace: Path, drawn: list[tuple[str, Edit]]
) -> None:
    check(workspace, ONNX_AND_OPENVINO, first_of(ONNX_AND_OPENVINO_FIELDS), drawn)
