"""What a running worker reports: progress, pieces of its output, and digests of its files."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from phibuild.engine.reporter import Reporter
from phibuild.executors.messages import Remember, Written
from phibuild.model.digest import Digest
from phibuild.model.errors import ActionError
from phibuild.store import KnownDigest, ObjectRange, Store
from phibuild.store.index import hash_file

_ALWAYS_READ = 64 << 20


class WorkerListener:
    """The executor's listener: passes progress on and collects the rest. `pieces` are those of each
    file of the outputs, by key, `digests` the known ones of such files; `recalled` counts the
    pieces of earlier outputs that the worker was given."""

    def __init__(
        self, store: Store, reporter: Reporter, reported_as: str, outputs: Sequence[Path]
    ) -> None:
        self.outputs = outputs
        self.digests: defaultdict[int, dict[str, KnownDigest]] = defaultdict(dict)
        self.pieces: defaultdict[tuple[int, str], dict[str, ObjectRange]] = defaultdict(dict)
        self.recalled = 0
        self._store = store
        self._reporter = reporter
        self._reported_as = reported_as

    def on_progress(self, fraction: float | None, text: str) -> None:
        self._reporter.progressed(self._reported_as, fraction, text)

    def on_recall(self, keys: Sequence[str]) -> Mapping[str, Sequence[object]]:
        pieces: dict[str, Sequence[object]] = {}
        for key in keys:
            piece = self._store.recall_piece(key)
            if piece is not None:
                path, place = piece
                pieces[key] = (str(path), place.offset, place.size, place.sha256)
        self.recalled += len(pieces)
        return pieces

    def on_remember(self, piece: Remember) -> None:
        pieces = self.pieces[(piece.number, piece.file)]
        pieces[piece.key] = ObjectRange(piece.offset, piece.size, piece.sha256)

    def on_written(self, file: Written) -> None:
        """Keep the digest of a complete file, so that the store need not read the file again unless
        it changes. To check workers, files of up to _ALWAYS_READ bytes are read anyway while the
        worker goes on, and larger ones as often as makes that many bytes of each on average."""
        path = self.outputs[file.number] / file.file
        with contextlib.suppress(OSError):  # then the store reads the file, if it exists
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                return
            known = self._store.known_digest(path, Digest.parse(f"sha256:{file.sha256}"))
            drawn = int.from_bytes(os.urandom(8)) % max(status.st_size, 1)
            if drawn < _ALWAYS_READ and hash_file(path) != known.digest:
                raise ActionError(
                    f"the worker reported a digest of {file.file} in its output that is false",
                    hint="job.written(sha256) is for a file that is complete;"
                    " without it, the store reads the file",
                    code="PHI407",
                )
            self.digests[file.number][file.file] = known
