"""Random edits of a checkpoint and of its SConstruct, built one after the other: what stands there
in the end is byte for byte what a store that knows nothing makes of it.

The store of the edited projects is one for all examples of a test, so that it holds ever more that
could be mistaken for something else. RANDOM_EDITS=200 makes 200 random examples of each test:

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

ASKED = int(os.environ.get("RANDOM_EDITS", "0"))
NUMBERS = itertools.count()


@dataclass
class State:
    """A project that is edited: the recipe fields of its SConstruct, and all states that the
    checkpoint was in, the present one last."""

    project: Project
    lines: str
    fields: dict[str, str]
    kept: list[Path]

    @property
    def checkpoint(self) -> Path:
        return self.project.folder / "tiny"

    def artifacts(self) -> list[Path]:
        manifests = sorted((self.project.folder / "dist").glob("*.phi.json"))
        return [path.with_name(path.name.removesuffix(".phi.json")) for path in manifests]

    def files(self) -> list[Path]:
        return [
            path
            for one in self.artifacts()
            for path in ([one] if one.is_file() else sorted(one.rglob("*")))
            if path.is_file()
        ]

    def write_sconstruct(self) -> None:
        text = 'phi = env.PhiModel("tiny")\n' + self.lines.format(**self.fields)
        self.project.sconstruct(text)

    def build(self, store: Path | None = None) -> dict[str, object]:
        ran = self.project.scons("-j2", **({"PHIBUILD_STORE": str(store)} if store else {}))
        assert ran.status == 0, ran.text
        return {one.name: tree_of(one) for one in self.artifacts()}


Edit = Callable[[State], None]


def of_checkpoint(name: str) -> Edit:
    """One of the edits of the edit table; some cannot be made a second time."""

    def edit(state: State) -> None:
        try:
            (NOTHING | SIDECAR)[name](state.checkpoint)
        except (FileNotFoundError, KeyError, ValueError):
            replace(state.checkpoint / "README.md", name.encode())

    return edit


def of_tensor(number: int, *, keeps_time: bool) -> Edit:
    def edit(state: State) -> None:
        names = [one.name for one in read_tensors(state.checkpoint)]
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
    """Back to the checkpoint before the last edit."""
    shutil.rmtree(state.checkpoint)
    shutil.copytree(state.kept[max(len(state.kept) - 2, 0)], state.checkpoint)


def of_output(number: int, *, deletes: bool) -> Edit:
    """Delete or damage a file of an artifact. It may be a link to the store's object, which must
    not be believed afterwards either."""

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


def edits(fields: dict[str, list[str]]) -> st.SearchStrategy[tuple[str, Edit]]:
    """An edit with the words that a failing example shows."""
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
        st.sampled_from(choices).map(lambda one: (f"field {one}", of_field(*one))),
        st.just(("revert", revert)),
        st.tuples(numbers, st.booleans()).map(
            lambda drawn: (f"output {drawn}", of_output(drawn[0], deletes=drawn[1]))
        ),
        st.just(("no .sconsign.dblite", forget_sconsign)),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("random")
    yield place
    shutil.rmtree(place)


def check(place: Path, lines: str, fields: dict[str, str], made: list[tuple[str, Edit]]) -> None:
    """Build, edit and build, edit and build; then the same from nothing."""
    store = place / "store"
    if not store.exists():
        store_with_llama_cpp(store)
    folder = place / f"example-{next(NUMBERS)}"
    folder.mkdir()
    project = Project(folder, {"PHIBUILD_STORE": str(store)})
    write_checkpoint(folder / "tiny", FAMILIES[FAMILY], layers=2)
    state = State(project, lines, fields, [])
    state.write_sconstruct()
    built = state.build()
    for _, edit in made:
        before = folder / f"state-{len(state.kept)}"
        shutil.copytree(state.checkpoint, before)
        state.kept.append(before)
        edit(state)
        state.write_sconstruct()
        built = state.build()
    shutil.rmtree(folder / "dist")
    clean = state.build(store_with_llama_cpp(folder / "clean-store"))
    assert built == clean
    shutil.rmtree(folder)


def examples(usual: int) -> settings:
    """As many as are asked for, or a few that are the same each time."""
    return settings(
        max_examples=ASKED or usual,
        derandomize=not ASKED,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if ASKED else [Phase.generate],
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


@examples(usual=3)
@given(made=st.lists(edits(GGUF_AND_MLX_FIELDS), min_size=2, max_size=5))
def test_gguf_and_mlx_are_those_of_a_clean_build(place: Path, made: list[tuple[str, Edit]]) -> None:
    check(place, GGUF_AND_MLX, first_of(GGUF_AND_MLX_FIELDS), made)


@examples(usual=2)
@given(made=st.lists(edits(ONNX_AND_OPENVINO_FIELDS), min_size=3, max_size=3))
def test_onnx_and_openvino_are_those_of_a_clean_build(
    place: Path, made: list[tuple[str, Edit]]
) -> None:
    check(place, ONNX_AND_OPENVINO, first_of(ONNX_AND_OPENVINO_FIELDS), made)
