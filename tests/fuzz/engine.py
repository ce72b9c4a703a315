"""One reader under atheris, in a process of its own: `python -m tests.fuzz.engine READER CRASHES
CORPUS [libFuzzer's options]`. An uncaught exception is a crash; the run goes on after it."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import atheris

PACKAGES = [
    "phibuild",
    "phibuild_delta",
    "phibuild_firmware",
    "phibuild_gguf",
    "phibuild_mlx",
    "phibuild_onnx",
    "phibuild_openvino",
]

with atheris.instrument_imports(include=PACKAGES):
    from tests.fuzz.readers import READERS, Read, scratch


def watched(read: Read, crashes: Path) -> Read:
    """The reader; each new kind of uncaught exception is written down with its input."""
    seen: set[str] = set()

    def run(content: bytes) -> None:
        try:
            read(content)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__}-{Path(last.filename).stem}-{last.lineno}"
            if kind not in seen:
                seen.add(kind)
                (crashes / kind).write_bytes(content)
                (crashes / f"{kind}.txt").write_text(traceback.format_exc(), "utf-8")
                print(f"CRASH {kind}", flush=True)

    return run


def main() -> None:
    """Run until libFuzzer's options end it."""
    reader, crashes = READERS[sys.argv[1]], Path(sys.argv[2])
    with scratch() as folder:
        run = watched(reader.make(folder), crashes)
        atheris.Setup([sys.argv[0], *sys.argv[3:]], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
