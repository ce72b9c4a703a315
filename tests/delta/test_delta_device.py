"""The device's apply: with phibuild's deltas, cut off at every write, fuzzed."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from phibuild_delta import records
from phibuild_delta.make import make_delta
from phibuild_delta.records import Field

from tests.delta.test_delta import NEW, OLD, a_gguf
from tests.firmware.fuzzing import fuzz
from tests.firmware.test_fuzz import DEVICE as MODEL
from tests.firmware.tools import needed_library, needed_tool

HERE = Path(__file__).parent
DELTA = HERE.parents[1] / "plugins" / "phibuild_delta" / "device"
INCLUDES = (f"-I{MODEL}", f"-I{DELTA}")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion")
RANDOM = random.Random(9)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, with sanitizers."""
    for name in ("libasan", "zstd.h"):
        needed_library(name)
    program = tmp_path_factory.mktemp("device") / "apply_delta"
    sources = (HERE / "apply_delta.c", DELTA / "phi_delta.c", MODEL / "phi_model.c")
    checks = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    command = ["cc", *STRICT, *checks, *INCLUDES, *sources, "-lzstd", "-o", program]
    subprocess.run(command, check=True)
    return program


class Update:
    """An old and a new file, their delta, and the device's flash."""

    def __init__(self, folder: Path, old: bytes, new: bytes, window: int = 65536) -> None:
        self.old, self.new, self.window = folder / "old", folder / "new", window
        self.delta, self.flash = folder / "delta", folder / "flash"
        self.old.write_bytes(old)
        self.new.write_bytes(new)
        make_delta(self.old, self.new, self.delta, window=window)

    def apply(self, device: Path, writes: int = -1, window: int = 0) -> str:
        command = [device, self.old, self.delta, self.flash, str(window or self.window)]
        done = subprocess.run(
            [*command, str(writes)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.stdout.strip()


def two_models(folder: Path, size: tuple[int, int] = (64, 4096)) -> tuple[bytes, bytes]:
    import numpy

    random_ = numpy.random.default_rng(1)
    weights = random_.standard_normal(size, numpy.float32)
    moved = weights * (1 + 0.001 * random_.standard_normal(weights.shape, numpy.float32))
    old, new = a_gguf(folder / "a.gguf", weights), a_gguf(folder / "b.gguf", moved)
    return old.read_bytes(), new.read_bytes()


def test_every_kind_of_record_is_applied(device: Path, tmp_path: Path) -> None:
    """Copies, zstd alone and with old bytes, raw bytes, and differences of every sort."""
    models = two_models(tmp_path)
    text = b"".join(b"%d lines\n" % number for number in range(9000))
    noise = RANDOM.randbytes(40_000)
    dense = bytes((byte + RANDOM.randrange(2)) % 256 for byte in noise)
    before = OLD[:300_000] + noise + text
    after = OLD[:200_000] + RANDOM.randbytes(100_000) + dense + b"%" + text
    kinds: set[int] = set()
    for number, (old, new) in enumerate([models, (before, after), (OLD, NEW), (b"", text)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        update = Update(folder, old, new, window=16384)
        assert update.apply(device) == "the new model is complete"
        assert update.flash.read_bytes() == new
        kinds |= kinds_of(update.delta)
    assert kinds == {
        records.COPY,
        records.RAW,
        records.ZSTD,
        records.DIFFERENCES,
        records.WITH_OLD,
    }


def kinds_of(delta: Path) -> set[int]:
    with delta.open("rb") as file:
        header = records.read_header(file)
        return {record.kind for record in records.read_records(file, header)}


def test_it_resumes_after_a_cut_at_any_write(device: Path, tmp_path: Path) -> None:
    old, new = two_models(tmp_path, (16, 4096))
    update = Update(tmp_path, old, new, window=4096)
    assert records.DIFFERENCES in kinds_of(update.delta)
    cuts = 0
    while (said := update.apply(device, writes=1)) != "the new model is complete":
        assert said == "writing failed"
        # One window is written, and half of the next; anything may follow.
        content = update.flash.read_bytes()
        update.flash.write_bytes(content + RANDOM.randbytes(RANDOM.randrange(9000)))
        cuts += 1
        assert cuts < 100
    assert cuts > 5
    assert update.flash.read_bytes()[: len(new)] == new


def test_a_delta_that_does_not_fit_is_refused(device: Path, tmp_path: Path) -> None:
    update = Update(tmp_path, b"old " * 5000, b"new " * 5000)
    assert "needs more memory" in update.apply(device, window=65535)
    update.old.write_bytes(b"odd " * 5000)
    assert update.apply(device) == "the delta is for another old model"
    assert update.flash.read_bytes() == b""
    update.old.write_bytes(b"old " * 5000)
    content = update.delta.read_bytes()
    for at in (0, 8, 12, 20, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        update.delta.write_bytes(changed)
        assert update.apply(device) != "the new model is complete"
    update.delta.write_bytes(content[:-1])
    assert update.apply(device) == "reading failed, or the delta is cut off"


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ()),
        ("arm-none-eabi-gcc", ("-mcpu=cortex-m3", "-mthumb")),
        ("aarch64-linux-gnu-gcc", ()),
        ("riscv64-unknown-elf-gcc", ("-ffreestanding",)),
    ],
)
def test_it_compiles_for_devices(tmp_path: Path, compiler: str, flags: tuple[str, ...]) -> None:
    command = [
        needed_tool(compiler),
        *STRICT,
        *flags,
        *INCLUDES,
        "-O2",
        "-c",
        DELTA / "phi_delta.c",
    ]
    subprocess.run([*command, "-o", tmp_path / "delta.o"], check=True)


def test_no_delta_crashes_it(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    zero = bytes(32)
    fields = (Field(2, is_number=True), Field(16, is_sparse=True), Field(14))
    for kind in range(5):
        has_fields = kind == records.DIFFERENCES
        packed = {0: b"", 3: bytes(20) + b"\1\0\0\0\5\7" + bytes(4)}.get(kind, b"x" * 64)
        packed = bytes(4) + b"\2\0\0\0\5\7\1\1" + bytes(28) if has_fields else packed
        is_old = kind in (records.COPY, records.DIFFERENCES, records.WITH_OLD)
        record = records.Record(
            kind, 64, 0, 64 if is_old else 0, zero, fields if has_fields else (), packed
        )
        header = records.Header(0, 8192, 1, 4096, 64, zero, zero)
        (seeds / str(kind)).write_bytes(header.to_bytes() + record.to_bytes())
    sources = (HERE / "fuzz_delta.c", DELTA / "phi_delta.c")
    fuzz(tmp_path, sources, seeds, includes=INCLUDES)
