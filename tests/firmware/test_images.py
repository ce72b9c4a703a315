"""Model images: their bytes, their limits, and how a device checks them."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from phibuild_firmware.budget import kv_cache_bytes
from phibuild_firmware.descriptor import BadImage, Descriptor, parse

from phibuild.registry import load_registry
from tests.conftest import Project
from tests.firmware.tools import needed_library, needed_tool

PAYLOAD = random.Random(1).randbytes(70_001)
IMAGE = 'image = env.FirmwareImage("build/model.img", "model.bin", model_id="tiny", {fields})\n'
SOURCES = 'env.DeviceSources("build/device", image)\n'
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-O1")


@pytest.fixture
def imaging(project: Project) -> Project:
    """A project with an image of a file that phibuild did not make, and its sources."""
    (project.folder / "model.bin").write_bytes(PAYLOAD)
    project.sconstruct(IMAGE.format(fields="") + SOURCES)
    return project


def image_of(project: Project) -> bytes:
    return (project.folder / "build" / "model.img").read_bytes()


def compiled(project: Project, *flags: str, name: str = "verify") -> Path:
    """The verifier as a command, compiled as the firmware of this project would."""
    device, program = project.folder / "build" / "device", project.folder / name
    main = Path(__file__).with_name("verify.c")
    needed_library("libasan") if any("sanitize" in flag for flag in flags) else needed_tool("cc")
    command = ["cc", *STRICT, *flags, f"-I{device}", main, device / "phi_model.c", "-o", program]
    subprocess.run(command, check=True)
    return program


def run_on(program: Path, image: Path, *arguments: str) -> str:
    done = subprocess.run([program, image, *arguments], stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def test_an_image_is_a_descriptor_page_and_the_payload(imaging: Project) -> None:
    assert imaging.scons().status == 0
    image = image_of(imaging)
    descriptor = parse(image)
    assert image[4096:] == PAYLOAD
    assert (descriptor.payload_offset, descriptor.payload_size) == (4096, len(PAYLOAD))
    assert descriptor.payload_sha256 == hashlib.sha256(PAYLOAD).digest()
    assert (descriptor.format, descriptor.model_id, descriptor.container) == ("FILE", "tiny", 0)
    assert imaging.scons().text == "scons: `.' is up to date.\n"


def test_the_format_is_pinned() -> None:
    descriptor = Descriptor(
        "GGUF", 0, 4096, 5, b"\1" * 32, b"\2" * 32, b"\3" * 32, 4096, "phi", "Q4_K_M"
    )
    page = descriptor.to_bytes()
    assert parse(page) == descriptor
    assert len(page) == 512
    assert page[:24] == b"PHIMODEL\1\0\0\0\0\2\0\0GGUF\0\0\0\0"
    assert page[24:40] == (4096).to_bytes(8, "little") + (5).to_bytes(8, "little")
    assert page[40:136] == b"\1" * 32 + b"\2" * 32 + b"\3" * 32
    assert page[136:144] == (4096).to_bytes(8, "little")
    assert page[144:368] == b"phi".ljust(64, b"\0") + b"Q4_K_M".ljust(160, b"\0")
    assert page[368:400] == hashlib.sha256(page[:368]).digest()
    assert not any(page[400:])


@pytest.mark.parametrize("at", [0, 9, 30, 80, 370])
def test_a_changed_descriptor_is_refused(at: int) -> None:
    descriptor = Descriptor(
        "GGUF", 0, 4096, 5, b"\1" * 32, b"\2" * 32, b"\3" * 32, 4096, "phi", "Q4_K_M"
    )
    page = bytearray(descriptor.to_bytes())
    page[at] ^= 1
    with pytest.raises(BadImage):
        parse(bytes(page))


def test_it_is_padded_to_whole_erase_blocks_and_aligned_as_requested(imaging: Project) -> None:
    fields = 'erase_size="64 KiB", slot_size="128 KiB", alignment=512'
    imaging.sconstruct(IMAGE.format(fields=fields))
    assert imaging.scons().status == 0
    image = image_of(imaging)
    assert len(image) == 128 * 1024
    assert image[512 : 512 + len(PAYLOAD)] == PAYLOAD
    assert not any(image[512 + len(PAYLOAD) :])


def test_an_image_larger_than_its_slot_is_refused_and_the_old_one_stays(imaging: Project) -> None:
    imaging.scons()
    before = image_of(imaging)
    imaging.sconstruct(IMAGE.format(fields='slot_size="72 KB"'))
    ran = imaging.scons()
    assert ran.status == 2
    assert "[PHI701] the image has 74,097 bytes, 2,097 more than its slot of 72,000" in ran.text
    assert image_of(imaging) == before


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ("alignment=1000", "a power of two"),
        ("erase_size=0", "the size of a block"),
        ('slot_size="4096"', "more than the descriptor's page"),
        ('slot_size="100 KB", erase_size=4096', "a multiple of erase_size"),
        ("slot_sise=5", "did you mean 'slot_size'"),
    ],
)
def test_impossible_sizes_are_refused_when_the_sconstruct_is_read(
    imaging: Project, fields: str, hint: str
) -> None:
    imaging.sconstruct(IMAGE.format(fields=fields))
    ran = imaging.scons()
    assert ran.status == 2
    assert hint in ran.text


def test_a_folder_becomes_a_reproducible_tar(project: Project) -> None:
    for name in ("b/two.bin", "a.txt"):
        project.write(f"model/{name}", name)
    project.sconstruct('env.FirmwareImage("build/model.img", "model")\n')
    assert project.scons().status == 0
    descriptor = parse(image_of(project))
    assert descriptor.container == 3
    payload = image_of(project)[4096 : 4096 + descriptor.payload_size]
    with tarfile.open(fileobj=io.BytesIO(payload)) as archive:
        entries = archive.getmembers()
        assert [entry.name for entry in entries] == ["a.txt", "b/two.bin"]
        assert {(entry.mtime, entry.uid, entry.uname) for entry in entries} == {(0, 0, "")}
        content = archive.extractfile(entries[1])
        assert content is not None
        assert content.read() == b"b/two.bin"


def test_show_prints_the_descriptor(imaging: Project) -> None:
    imaging.scons()
    shown = imaging.phibuild("show", "build/model.img").text
    assert "model_id = tiny" in shown
    assert f"payload_sha256 = {hashlib.sha256(PAYLOAD).hexdigest()}" in shown


def test_only_models_become_images(copying: Project) -> None:
    copying.write("in.bin", "x")
    copying.sconstruct(
        'image = env.FirmwareImage("build/a.img", "in.bin")\n'
        'env.FirmwareImage("build/b.img", image)\n'
    )
    ran = copying.scons()
    assert ran.status == 2
    assert "[PHI203] a model image cannot hold the format 'model image'" in ran.text


def test_sources_for_another_file_are_refused(project: Project) -> None:
    project.write("in.bin", "not an image")
    project.sconstruct('env.DeviceSources("build/device", "in.bin")\n')
    ran = project.scons()
    assert ran.status == 2
    assert "[PHI702]" in ran.text


def test_a_device_accepts_its_image_and_nothing_else(imaging: Project, tmp_path: Path) -> None:
    assert imaging.scons().status == 0
    image = imaging.folder / "build" / "model.img"
    program = compiled(imaging, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover")
    assert run_on(program, image) == "ok"
    assert run_on(program, image, "flip") == "all refused"
    assert run_on(program, image, "cut") == "all refused"
    damaged = bytearray(image.read_bytes())
    damaged[4096 + 70_000] ^= 16
    other = tmp_path / "other.img"
    other.write_bytes(damaged)
    assert run_on(program, other) == "the payload was changed"
    (imaging.folder / "model.bin").write_bytes(PAYLOAD[:-1])
    assert imaging.scons().status == 0
    assert run_on(program, image) == "the firmware is for another image"
    assert run_on(compiled(imaging, name="again"), image) == "ok"


def test_the_tokenizer_and_the_template_are_compared(imaging: Project, tmp_path: Path) -> None:
    """With digests that are edited by hand."""
    imaging.scons()
    header = imaging.folder / "build" / "device" / "phi_model_data.h"
    text = header.read_text()
    header.unlink()
    image = imaging.folder / "build" / "model.img"
    for name, status in (
        ("TOKENIZER", "the tokenizer does not match"),
        ("CHAT_TEMPLATE", "the chat template does not match"),
    ):
        line = next(line for line in text.splitlines() if f"_{name}_DIGEST" in line)
        header.write_text(text.replace(line, line.replace("0x00", "0x07", 1)))
        assert run_on(compiled(imaging), image) == status


@pytest.mark.parametrize("chunk", [1, 55, 56, 63, 64, 65, 1000])
def test_sha256_is_that_of_the_standard(imaging: Project, tmp_path: Path, chunk: int) -> None:
    imaging.scons()
    program = compiled(imaging)
    for size in (0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 4097):
        path = tmp_path / "content"
        path.write_bytes(PAYLOAD[:size])
        assert (
            run_on(program, path, "digest", str(chunk))
            == hashlib.sha256(PAYLOAD[:size]).hexdigest()
        )


def test_an_embedded_model_is_an_ordinary_dependency(project: Project) -> None:
    """A firmware in the same graph, here for this machine."""
    needed_tool("gcc")
    (project.folder / "model.bin").write_bytes(PAYLOAD)
    main = Path(__file__).with_name("verify_embedded.c")
    project.write("main.c", main.read_text())
    project.sconstruct(
        'env.EmbeddedModel("build/phi", "model.bin", slot_size="128 KiB")\n'
        'env = Environment(CPPPATH=["build/phi"], ASPPFLAGS=["-Wa,-Ibuild/phi"])\n'
        'parts = ["main.c", "build/phi/phi_model.c", "build/phi/phi_model_data.S"]\n'
        'env.Program("firmware", [*parts, "build/phi/phi_model_data.ld"])\n'
    )
    ran = project.scons()
    assert ran.status == 0, ran.text
    firmware = project.folder / "firmware"
    assert subprocess.run([firmware], stdout=subprocess.PIPE).stdout == b"PASS\n"
    assert project.scons().text == "scons: `.' is up to date.\n"
    (project.folder / "model.bin").write_bytes(PAYLOAD[::-1])
    assert project.scons().status == 0
    assert PAYLOAD[::-1] in firmware.read_bytes()
    assert subprocess.run([firmware], stdout=subprocess.PIPE).stdout == b"PASS\n"


def test_no_path_of_this_machine_is_in_the_embedding_sources(project: Project) -> None:
    (project.folder / "model.bin").write_bytes(PAYLOAD)
    project.sconstruct('env.EmbeddedModel("build/phi", "model.bin")\n')
    project.scons()
    for path in (project.folder / "build" / "phi").glob("phi_model_data.*"):
        assert str(project.folder) not in path.read_text()
        assert os.environ.get("HOME", "/root") not in path.read_text()


def test_the_packagers_come_through_the_entry_points() -> None:
    names = {packager.name for packager in load_registry().packagers.values()}
    assert {"firmware-image", "embedded-model", "device-sources", "zephyr-module"} <= names


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    heavy = "numpy zstandard gguf rich click SCons"
    program = (
        f"import sys, phibuild_firmware; print([n for n in {heavy.split()} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert done.stdout == "[]\n"


def test_a_grouped_query_model_has_a_small_kv_cache() -> None:
    """Phi-3.5-mini (32 layers, 32 heads of 96) and Phi-4-mini (8 KV heads of 128), by hand."""
    mini = {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 3072}
    assert kv_cache_bytes(mini, 4096, 16) == 1_610_612_736
    grouped = mini | {"num_attention_heads": 24, "num_key_value_heads": 8}
    assert kv_cache_bytes(grouped, 4096, 16) == 536_870_912


def test_a_memory_budget_requires_the_context(imaging: Project) -> None:
    imaging.sconstruct(IMAGE.format(fields='ram_budget="1 GB"'))
    ran = imaging.scons()
    assert ran.status == 2
    assert "ram_budget needs context=... and ram_overhead=..." in ran.text
