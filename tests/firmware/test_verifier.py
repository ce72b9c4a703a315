"""The verifier on a device: with another SHA-256, and with little of libc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.firmware.test_images import IMAGE, PAYLOAD, SOURCES, STRICT, run_on
from tests.firmware.test_objects import TARGETS
from tests.firmware.tools import needed_library, needed_tool

DEVICE = Path(__file__).parents[2] / "plugins" / "phibuild_firmware" / "device"
DIGESTED = 368


@pytest.fixture
def verifier(project: Project) -> Path:
    """The verifier over libsodium's SHA-256, beside an image."""
    for name in ("libasan", "sodium.h"):
        needed_library(name)
    (project.folder / "model.bin").write_bytes(PAYLOAD)
    project.sconstruct(IMAGE.format(fields="") + SOURCES)
    assert project.scons().status == 0
    device, program = project.folder / "build" / "device", project.folder / "verify"
    main = Path(__file__).with_name("verify_sodium.c")
    sanitized = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover")
    command = ["cc", *STRICT, *sanitized, f"-I{device}", main, device / "phi_model.c"]
    subprocess.run([*command, "-lsodium", "-o", program], check=True)
    return program


def test_the_devices_sha256_replaces_the_portable_one(verifier: Path) -> None:
    """It is called once for the descriptor and once for the payload, and its result counts."""
    image = verifier.parent / "build" / "model.img"
    whole = DIGESTED + len(PAYLOAD)
    assert run_on(verifier, image) == f"ok: 2 begun, 2 finished, {whole} bytes"
    assert run_on(verifier, image, "wrong") == (
        f"the descriptor was changed: 1 begun, 1 finished, {DIGESTED} bytes"
    )


def test_a_signature_covers_the_bytes_that_the_model_was_read_from(verifier: Path) -> None:
    image = verifier.parent / "build" / "model.img"
    assert run_on(verifier, image, "swap") == "ok, the signature is wrong"


@pytest.mark.parametrize("compiler", TARGETS)
def test_it_needs_only_memcmp_and_memcpy_of_libc(tmp_path: Path, compiler: str) -> None:
    """Names that begin with two underscores are libgcc's: shifts of 64 bits on a Cortex-M3."""
    flags = ("-std=c99", "-ffreestanding", *TARGETS[compiler])
    for level in ("-O0", "-Os", "-O3"):
        output = tmp_path / f"{level}.o"
        command = [needed_tool(compiler), *flags, level, "-c", DEVICE / "phi_model.c", "-o", output]
        subprocess.run(command, check=True)
        listed = subprocess.run(
            [needed_tool("nm"), "-u", output], stdout=subprocess.PIPE, text=True, check=True
        )
        names = {line.split()[-1] for line in listed.stdout.splitlines()}
        of_libc = {name for name in names if not name.startswith(("__", "_GLOBAL_OFFSET_TABLE_"))}
        assert of_libc == {"memcmp", "memcpy"}
