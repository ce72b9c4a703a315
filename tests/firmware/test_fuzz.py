"""The verifier under libFuzzer and sanitizers."""

from __future__ import annotations

from pathlib import Path

from phibuild_firmware.descriptor import Descriptor

from tests.firmware.fuzzing import fuzz

HERE = Path(__file__).parent
DEVICE = HERE.parents[1] / "plugins" / "phibuild_firmware" / "device"


def test_no_bytes_crash_the_verifier(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    descriptor = Descriptor(
        "GGUF", 0, 512, 5, b"\1" * 32, b"\2" * 32, b"\3" * 32, 512, "phi", "Q4_K_M"
    )
    for flag in (b"\0", b"\1"):
        (seeds / flag.hex()).write_bytes(flag + descriptor.to_bytes() + b"12345")
    sources = (HERE / "fuzz_model.c", DEVICE / "phi_model.c")
    fuzz(tmp_path, sources, seeds, includes=[f"-I{DEVICE}"])
