"""Whatever the small files of a checkpoint hold: reading ends well, or with an error that helps."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phibuild.model.errors import SourceError
from phibuild.source import lay_out, read_checkpoint
from phibuild.source.fields import CONFIG_FIELDS, GENERATION_FIELDS, TOKENIZER_FIELDS
from phibuild.source.files import INDEX
from phibuild.source.summary import summarize
from phibuild.store import Index
from tests.source.checkpoints import a_checkpoint, in_two_shards

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 1 << 70)
    | st.floats()
    | st.sampled_from(["", "default", "../x", "1", "model-00001-of-00002.safetensors", "\ud800"])
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "template", "content", "id", "vocab", "type", "rope_type", "1", "a"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
FIELDS = {
    "config.json": [*CONFIG_FIELDS],
    "generation_config.json": [*GENERATION_FIELDS],
    "tokenizer_config.json": [*TOKENIZER_FIELDS, "chat_template"],
    "tokenizer.json": ["added_tokens", "model"],
    "added_tokens.json": ["<|a|>"],
    "special_tokens_map.json": ["eos_token"],
    INDEX: ["weight_map"],
}


def read(folder: Path) -> None:
    """All that is done with a checkpoint when an SConstruct is read, and what a worker is shown."""
    view = folder.parent / "view"
    shutil.rmtree(view, ignore_errors=True)
    with contextlib.suppress(SourceError):
        checkpoint = read_checkpoint(folder, Index(folder.parent / "index.sqlite"))
        summarize(checkpoint)
        lay_out(checkpoint, ["architecture", "tokenizer", "chat_template", "generation"], view)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to spoil copies of."""
    folder = a_checkpoint(tmp_path_factory.mktemp("fuzz") / "template")
    in_two_shards(folder)
    return folder


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=st.sampled_from(sorted(FIELDS)))
def test_any_value_in_any_field(template: Path, data: st.DataObject, name: str) -> None:
    folder = template.parent / "m"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    path = folder / name
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    document[data.draw(st.sampled_from(FIELDS[name]))] = data.draw(VALUES)
    path.write_text(json.dumps(document))
    read(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=st.binary(max_size=60), name=st.sampled_from([*sorted(FIELDS), "chat_template.jinja"])
)
def test_any_bytes_in_any_file(template: Path, content: bytes, name: str) -> None:
    folder = template.parent / "m"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    (folder / name).write_bytes(content)
    read(folder)
