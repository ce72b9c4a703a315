"""The worker's side: what takes seconds in each process of a toolkit."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from phibuild.worker.phiworker import Job


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The stream of a worker's messages."""
    reader, writer = os.pipe()
    monkeypatch.setenv("PHIBUILD_MESSAGES", str(writer))
    yield reader
    os.close(reader)
    os.close(writer)
    gc.unfreeze()


def test_imports_are_reported_and_collect_no_garbage(messages: int) -> None:
    nowhere = Path("nowhere")
    job = Job("job", {}, nowhere, {}, {}, nowhere, 1, "", ())
    with pytest.raises(ImportError), job.importing("a toolkit"):
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert json.loads(os.read(messages, 1000)) == {"progress": None, "text": "import a toolkit"}
