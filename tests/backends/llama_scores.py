"""What llama.cpp's own programs compute for a GGUF file.

None of them prints logits: llama-imatrix prints the perplexity of each chunk of a text, to eight
digits, which is the mean log-probability of 127 of its tokens, and llama-completion's saved session
has the text's token ids.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CHUNK = 256
"""Tokens that are seen; those of the second half are scored, but for the last."""
CHUNKS = 4
ATTEMPTS = 20
"""llama-imatrix ends without waiting for the thread that prints: on a busy machine the last of its
lines are lost now and then."""
# Half precision in the cache would cost three digits.
EXACT = ("-ctk", "f32", "-ctv", "f32", "-fa", "off", "-t", "1")


class ScoringError(Exception):
    """A program failed, or printed something unexpected; with the last lines of its log."""


class Scores(NamedTuple):
    """Rows of token ids, and the mean log-probability of the scored tokens of each, negated."""

    rows: list[list[int]]
    means: list[float]


def scores(programs: Path, model: Path, text: Path, bos: int | None) -> Scores:
    """The scores of a text of more than `CHUNKS` chunks."""
    session = model.with_suffix(".session")
    length = str(CHUNK * (CHUNKS + 8))
    options = ("-m", model, "-f", text, *EXACT)
    _run(programs / "llama-completion", *options, "-n", "1", "--prompt-cache", session,
         "-no-cnv", "--no-warmup", "-c", length, "-b", length)  # fmt: skip
    ids = session_ids(session)
    for _ in range(ATTEMPTS):
        said = _run(programs / "llama-imatrix", *options, "-o", model.with_suffix(".weights"),
                    "-c", str(CHUNK), "--chunks", str(CHUNKS))  # fmt: skip
        so_far = [np.log(float(score)) for score in re.findall(r"\[\d+\]([\d.naif]+),", said)]
        if len(so_far) == CHUNKS:
            break
    else:
        raise ScoringError(said[-2000:])
    sums = np.array(so_far) * np.arange(1, CHUNKS + 1)
    rows = [ids[start : start + CHUNK] for start in range(0, CHUNKS * CHUNK, CHUNK)]
    if ids[0] == bos:
        rows = [[bos, *row[1:]] for row in rows]
    return Scores(rows, [float(score) for score in np.diff(sums, prepend=0.0)])


def mean_of_logits(logits: Any, row: list[int]) -> float:
    """The same of the logits of a row."""
    first = CHUNK // 2
    scored = np.asarray(logits, np.float64)[first:-1]
    highest = scored.max(axis=1, keepdims=True)
    sums = highest[:, 0] + np.log(np.exp(scored - highest).sum(axis=1))
    return float(np.mean(sums - scored[np.arange(len(scored)), row[first + 1 :]]))


def session_ids(session: Path) -> list[int]:
    """The token ids in a session file: magic, version, count, ids (llama_state_save_file)."""
    words = np.frombuffer(session.read_bytes()[: 4 * (3 + CHUNK * (CHUNKS + 8))], "<u4")
    return [int(word) for word in words[3 : 3 + words[2]]]


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        raise ScoringError(done.stderr[-2000:])
    return done.stdout + done.stderr
