"""The checkpoints that a build reads, and whether they are still what was read."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from phibuild.engine.placing.artifacts import Artifacts
from phibuild.engine.reporter import Reporter
from phibuild.model.errors import PhiError
from phibuild.source import Checkpoint, read_checkpoint
from phibuild.store import Index

_WORTH_REPORTING = 500_000_000
"""Bytes. Less is read before anyone has read that it began."""


class Sources:
    """Reads checkpoints, each once in this process unless its files change."""

    def __init__(self, artifacts: Artifacts, reporter: Reporter) -> None:
        self.artifacts = artifacts
        self._reporter = reporter
        self._checkpoints: dict[Path, Checkpoint] = {}
        self._guard = threading.Lock()

    @property
    def index(self) -> Index:
        """What the store knows of files."""
        return self.artifacts.store.index

    def checkpoint(self, folder: Path) -> Checkpoint:
        """The checkpoint in a folder."""
        with self._guard:
            checkpoint = self._checkpoints.get(folder)
            if checkpoint is None or not self.has_same_files(checkpoint):
                checkpoint = self._checkpoints[folder] = self._read(folder)
            return checkpoint

    def _read(self, folder: Path) -> Checkpoint:
        name = f"read {folder.name}"
        is_reported = False

        def progressed(done: int, total: int) -> None:
            nonlocal is_reported
            if not is_reported and total > _WORTH_REPORTING:
                self._reporter.started(name, seconds=total / 1.5e9)
                is_reported = True
            if is_reported:
                self._reporter.progressed(name, done / max(total, 1), "digests of tensors")

        try:
            return read_checkpoint(folder, self.index, on_progress=progressed)
        finally:
            if is_reported:
                self._reporter.ended(name)

    def has_same_files(self, checkpoint: Checkpoint) -> bool:
        """Whether no file of the checkpoint was touched since it was read."""
        try:
            return all(self.index.signature(path) == known for path, known in checkpoint.files)
        except OSError:
            return False

    def is_unchanged(self, checkpoint: Checkpoint) -> bool:
        """Whether the checkpoint still is what was read. A file with other links gets a new ctime,
        and an artifact that is a hard link to an object a new mtime too, when another build places
        the same object: their bytes are then read again."""
        if self.has_same_files(checkpoint):
            return True
        with contextlib.suppress(OSError, PhiError):
            is_artifact = self.artifacts.manifest_in_place(checkpoint.folder) is not None
            if is_artifact or self._has_same_seals(checkpoint):
                return self.checkpoint(checkpoint.folder).slices == checkpoint.slices
        return False

    def _has_same_seals(self, checkpoint: Checkpoint) -> bool:
        """Whether size, mtime and inode of each file are the same."""
        signature = self.index.signature
        return all(
            known.startswith(f"{signature(path, 'seal')}:") for path, known in checkpoint.files
        )
