"""Coverage-guided fuzzing: `./run python -m tests.fuzz --seconds 600 [READER ...]`.

One process for each reader, one after the other. An exception that is not the reader's own error,
more than 2 GB of memory, or ten seconds for one input is a failure. Inputs that reached new code
are kept in --corpus, and the next run goes on from them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.readers import READERS, Reader
from tests.fuzz.seeds import words

_LIMITS = ("-rss_limit_mb=2048", "-timeout=10", "-max_len=65536")


class Run(NamedTuple):
    """How a run ended: executions, kinds of uncaught exceptions, and what stopped it if that was
    not its time."""

    executions: int
    crashes: tuple[str, ...]
    stopped: str

    def __str__(self) -> str:
        failures = ", ".join((*self.crashes, *([self.stopped] if self.stopped else ())))
        return f"{self.executions:>10,} executions  {failures or 'no failure'}"


def fuzz(reader: Reader, seconds: int, folder: Path) -> Run:
    """Fuzz one reader."""
    corpus, crashes = folder / "corpus", folder / "crashes"
    for place in (corpus, crashes):
        place.mkdir(parents=True, exist_ok=True)
    seeds = reader.seeds()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    names = (word for word in set().union(*map(words, seeds)) if b'"' not in word)
    odd = (b"null", b"true", b"1e999", b"NaN", b'\\"\\"', b"[]", b"{}", b"\\xff", b"\\x00")
    entries = (f'"{word.decode()}"' for word in (*sorted(names), *odd))
    (folder / "words.dict").write_text("\n".join(entries) + "\n", "ascii")
    command = [sys.executable, "-m", "tests.fuzz.engine", reader.name, crashes, corpus, *_LIMITS]
    command += [f"-dict={folder / 'words.dict'}", f"-artifact_prefix={crashes}/"]
    command += [f"-max_total_time={seconds}", "-print_final_stats=1"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace")
    (folder / "log.txt").write_text(text, "utf-8")
    counted = re.search(r"stat::number_of_executed_units: (\d+)", text)
    stopped = re.search(r"SUMMARY: libFuzzer: (.*)", text)
    is_done = done.returncode == 0 and counted is not None
    return Run(
        int(counted[1]) if counted else 0,
        tuple(re.findall(r"^CRASH (\S+)", text, re.MULTILINE)),
        "" if is_done else (stopped[1] if stopped else f"exit status {done.returncode}"),
    )


def main() -> None:
    """Parse, run, print; exit status 1 after a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--seconds", type=int, default=60, help="for each reader (60)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="(build/fuzz)")
    options = parser.parse_args()
    unknown = set(options.readers) - READERS.keys()
    if unknown:
        parser.error(f"unknown reader {', '.join(sorted(unknown))}; there are {list(READERS)}")
    failed = False
    for name in options.readers or READERS:
        run = fuzz(READERS[name], options.seconds, options.corpus / name)
        print(f"{name:<28} {run}", flush=True)
        failed = failed or bool(run.crashes or run.stopped)
    sys.exit(failed)


if __name__ == "__main__":
    main()
