"""Descriptions of a model for Zephyr, Yocto, ESP-IDF and genimage, read by these systems' own
tools: Zephyr's validator of schemas and YAML parser, Espressif's parser of partition tables, and
genimage. bitbake is not on PyPI: a parser and linter of recipes replaces it."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project, Ran
from tests.firmware.tools import needed_tool

PROGRAMS = Path(sys.executable).parent
PAYLOAD = random.Random(2).randbytes(70_001)
URL = "https://models.example.com/@SHA256@/model.img"
ZEPHYR = 'url=URL, version="1.0", license_path="zephyr/blobs/LICENSE"'
# The documented fields of a blob in a module.yml, as a schema for the validator that Zephyr uses.
SCHEMA = """\
type: map
mapping:
  name: {type: str}
  blobs:
    type: seq
    sequence:
      - type: map
        mapping:
          path: {type: str, required: true}
          sha256: {type: str, required: true, pattern: "[0-9a-f]{64}"}
          type: {type: str, required: true, enum: [img, lib]}
          version: {type: str, required: true}
          license-path: {type: str, required: true}
          url: {type: str, required: true}
          description: {type: str, required: true}
          doc-url: {type: str}
"""


def described(project: Project, builder: str, fields: str) -> str:
    """Build the description of a model image; returns its text."""
    ran = declared(project, builder, fields)
    assert ran.status == 0, ran.text
    return (project.folder / "build" / "description").read_text("utf-8")


def declared(project: Project, builder: str, fields: str) -> Ran:
    if not (project.folder / "model.bin").exists():
        (project.folder / "model.bin").write_bytes(PAYLOAD)
    project.sconstruct(
        f"URL = {URL!r}\n"
        'image = env.FirmwareImage("build/model.img", "model.bin", model_id="tiny")\n'
        f'env.{builder}("build/description", image, {fields})\n'
    )
    return project.scons()


def digest_of(project: Project) -> str:
    return hashlib.sha256((project.folder / "build" / "model.img").read_bytes()).hexdigest()


def test_zephyr_reads_a_blob(project: Project) -> None:
    more = """, path="phi/model.img", description='a "tiny" model: ü', module="phi", """
    text = described(project, "ZephyrModule", ZEPHYR + more + 'doc_url="https://example.com"')
    schema = project.write("schema.yml", SCHEMA)
    document = project.write("module.yml", text)
    checked = [PROGRAMS / "pykwalify", "-d", document, "-s", schema]
    assert subprocess.run(checked).returncode == 0
    sha256 = digest_of(project)
    assert yaml.safe_load(text) == {
        "name": "phi",
        "blobs": [
            {
                "path": "phi/model.img",
                "sha256": sha256,
                "type": "img",
                "version": "1.0",
                "license-path": "zephyr/blobs/LICENSE",
                "url": URL.replace("@SHA256@", sha256),
                "description": 'a "tiny" model: ü',
                "doc-url": "https://example.com",
            }
        ],
    }
    size = (project.folder / "build" / "model.img").stat().st_size
    assert text.startswith(f"# Written by phibuild for model.img: {size} bytes, sha256 {sha256}\n")
    assert "# Licence: unknown: the model's card does not say\n" in text


def test_defaults_are_the_images(project: Project) -> None:
    (blob,) = yaml.safe_load(described(project, "ZephyrModule", ZEPHYR))["blobs"]
    assert (blob["path"], blob["description"]) == ("model.img", "model image")
    assert "doc-url" not in blob


def test_a_yocto_recipe_is_parsed_without_a_warning(project: Project) -> None:
    fields = 'url=URL, license="mit", description="A tiny model", homepage="https://example.com"'
    text = described(project, "YoctoRecipe", fields)
    recipe = project.write("meta/recipes-model/phi-model/phi-model_1.0.bb", text)
    # OpenEmbedded's own licences are not remote, DESCRIPTION defaults to SUMMARY, and the third
    # rule needs the network.
    accepted = ("licenseremotefile", "mandatoryvar.DESCRIPTION")
    rules = [*(f"oelint.var.{name}" for name in accepted), "oelint.vars.homepageping"]
    suppressed = [word for rule in rules for word in ("--suppress", rule)]
    lint = [PROGRAMS / "oelint-adv", "--quiet", "--hide", "info", *suppressed, recipe]
    done = subprocess.run(lint, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    variables = parsed(recipe)
    sha256 = digest_of(project)
    assert variables["SRC_URI[model.sha256sum]"] == sha256
    assert variables["SRC_URI"].split(";")[0] == URL.replace("@SHA256@", sha256)
    assert variables["SUMMARY"] == "A tiny model"
    assert variables["HOMEPAGE"] == "https://example.com"
    assert variables["LICENSE"] == "MIT"
    assert re.fullmatch(
        r"file://\$\{COMMON_LICENSE_DIR\}/MIT;md5=[0-9a-f]{32}", variables["LIC_FILES_CHKSUM"]
    )
    assert "do_install" in variables
    assert "do_deploy" in variables


def parsed(recipe: Path) -> dict[str, str]:
    """Variables, flags and functions of a recipe by name. In a process of its own, since the parser
    warns of its own outdated parts."""
    program = """
import json, sys
from oelint_parser.cls_item import FlagAssignment, Function, Variable
from oelint_parser.cls_stash import Stash
stash = Stash(quiet=True)
stash.AddFile(sys.argv[1])
stash.Finalize()
items = {}
for item in stash.GetItemsFor(classifier=Variable.CLASSIFIER):
    items[item.VarName] = item.VarValueStripped
for item in stash.GetItemsFor(classifier=FlagAssignment.CLASSIFIER):
    items[f"{item.VarName}[{item.Flag}]"] = item.ValueStripped
for item in stash.GetItemsFor(classifier=Function.CLASSIFIER):
    items[item.FuncName] = item.FuncBodyStripped
print(json.dumps(items))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, recipe], stdout=subprocess.PIPE, text=True, check=True
    )
    items: dict[str, str] = yaml.safe_load(done.stdout)
    return items


def test_a_recipe_does_not_invent_a_licence(project: Project) -> None:
    ran = declared(project, "YoctoRecipe", "url=URL")
    assert ran.status == 2
    assert "[PHI202] license is required" in ran.text
    assert "the model's card does not say: write license=" in ran.text
    ran = declared(project, "YoctoRecipe", 'url=URL, license="Phi-1"')
    assert ran.status == 2
    assert 'for Phi-1, write license_checksum="file://' in ran.text
    fields = 'url=URL, license="Phi-1", license_checksum="file://LICENSE;md5=0", folder="/models"'
    text = described(project, "YoctoRecipe", fields)
    assert 'LICENSE = "Phi-1"\nLIC_FILES_CHKSUM = "file://LICENSE;md5=0"\n' in text
    assert 'FILES:${PN} += "/models/model.img"' in text


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ("", [("model", 0x01, 0x06, 0x9000, 0x13000)]),
        (
            'name="phi", type="0x40", subtype="3", offset=0x110000, size="128 KiB", slots=2,'
            'flags=["readonly"]',
            [("phi_a", 0x40, 3, 0x110000, 0x20000), ("phi_b", 0x40, 3, 0x130000, 0x20000)],
        ),
    ],
)
def test_espressifs_parser_reads_the_partitions(
    project: Project, fields: str, rows: list[tuple[object, ...]]
) -> None:
    text = described(project, "EspPartitions", fields)
    from esp_idf_defs.partitions import PartitionTable

    table = PartitionTable.from_csv(text)
    table.verify()
    assert [(row.name, row.type, row.subtype, row.offset, row.size) for row in table] == rows
    assert all(row.readonly == bool(fields) for row in table)
    again = PartitionTable.from_binary(table.to_binary())
    assert [row.name for row in again] == [name for name, *_ in rows]


@pytest.mark.parametrize("table", ["gpt", "mbr"])
def test_genimage_fills_both_slots(project: Project, table: str) -> None:
    program = needed_tool("genimage")
    fields = f'slot_size="1 MiB", slots=["phi.a", "phi.b"], partition_table="{table}"'
    text = described(project, "GenimageSlots", f'{fields}, disk="disk.img", alignment="64 KiB"')
    assert digest_of(project) in text
    disks = []
    for out in ("one", "two"):
        command = [program, "--config", "build/description", "--inputpath", "build"]
        (project.folder / "empty").mkdir(exist_ok=True)
        ran = project.run(
            *(*command, "--rootpath", "empty", "--tmppath", f"tmp-{out}", "--outputpath", out)
        )
        assert ran.status == 0, ran.text
        disks.append((project.folder / out / "disk.img").read_bytes())
    assert disks[0] == disks[1]
    image = (project.folder / "build" / "model.img").read_bytes()
    slots = (gpt_partitions if table == "gpt" else mbr_partitions)(disks[0])
    assert [name for name, _, _ in slots] == (["phi.a", "phi.b"] if table == "gpt" else ["", ""])
    for _, begin, size in slots:
        assert (begin % 65_536, size) == (0, 1 << 20)
        slot = disks[0][begin : begin + size]
        assert slot[: len(image)] == image
        assert not any(slot[len(image) :])


def gpt_partitions(disk: bytes) -> list[tuple[str, int, int]]:
    """Name, first byte and bytes of each partition (UEFI specification, 5.3)."""
    assert disk[512:520] == b"EFI PART"
    first = 512 * int.from_bytes(disk[584:592], "little")
    entries = [disk[first + 128 * number :][:128] for number in range(128)]
    partitions = []
    for entry in filter(lambda entry: any(entry[:16]), entries):
        begin, last = (int.from_bytes(entry[at : at + 8], "little") for at in (32, 40))
        name = entry[56:].decode("utf-16-le").rstrip("\0")
        partitions.append((name, 512 * begin, 512 * (last - begin + 1)))
    return partitions


def mbr_partitions(disk: bytes) -> list[tuple[str, int, int]]:
    """The same of the four entries of a master boot record, which have no names."""
    assert disk[510:512] == b"\x55\xaa"
    entries = [disk[446 + 16 * number :][:16] for number in range(4)]
    return [
        (
            "",
            512 * int.from_bytes(entry[8:12], "little"),
            512 * int.from_bytes(entry[12:], "little"),
        )
        for entry in entries
        if entry[4] == 0x83
    ]


def test_an_image_larger_than_its_slot_is_refused(project: Project) -> None:
    for builder, fields in (
        ("GenimageSlots", 'slot_size="64 KiB", alignment=512'),
        ("EspPartitions", 'size="64 KiB"'),
    ):
        ran = declared(project, builder, fields)
        assert ran.status == 2
        assert "[PHI701] the image has 74,097 bytes, 8,561 more than its slot" in ran.text


@pytest.mark.parametrize(
    ("builder", "fields", "message"),
    [
        ("ZephyrModule", 'url="x"', "version is required"),
        ("ZephyrModule", ZEPHYR + ', path="../out"', "a path inside the module"),
        ("ZephyrModule", ZEPHYR + ', slot_size="1 MiB"', "unknown field 'slot_size'"),
        ("YoctoRecipe", 'url=URL, licence="MIT"', "did you mean 'license'?"),
        ("YoctoRecipe", "url='\"', license='MIT'", "without quotes and backslashes"),
        ("YoctoRecipe", 'url=URL, license="MIT", folder="models"', "an absolute path"),
        ("EspPartitions", 'name="a_very_long_name", slots=2, size=4096', "at most 16"),
        ("EspPartitions", 'type="app"', "a number from 0x40 to 0xfe"),
        ("EspPartitions", 'type="0x40"', '"undefined" (of type "data")'),
        ("EspPartitions", "offset=100", "a multiple of 4 KiB"),
        ("EspPartitions", "slots=2", "size is required"),
        ("EspPartitions", 'flags=["hidden"]', "possible values: encrypted, readonly"),
        ("GenimageSlots", "", "slot_size is required"),
        ("GenimageSlots", 'slot_size="1 MB"', "a multiple of alignment"),
        ("GenimageSlots", 'slot_size="1 MiB", slots=["a", "a"]', "different names"),
        ("GenimageSlots", 'slot_size="1 MiB", slots=["a b"]', "letters, digits"),
        (
            "GenimageSlots",
            'slot_size="1 MiB", slots=list("abcde"), partition_table="mbr"',
            "most 4",
        ),
        ("GenimageSlots", 'url="x"', "unknown field 'url'"),
    ],
)
def test_wrong_fields_are_named_when_the_sconstruct_is_read(
    project: Project, builder: str, fields: str, message: str
) -> None:
    ran = declared(project, builder, fields)
    assert ran.status == 2
    assert message in ran.text
    assert "working" not in ran.text


def test_a_folder_is_not_described(copying: Project) -> None:
    copying.sconstruct('env.EspPartitions("build/description", "folder")\n')
    copying.write("folder/file", "x")
    ran = copying.scons()
    assert ran.status == 2
    assert "[PHI203] the artifact is a folder" in ran.text


def test_a_description_changes_only_with_its_model(project: Project) -> None:
    before = described(project, "EspPartitions", "")
    assert project.scons().text == "scons: `.' is up to date.\n"
    (project.folder / "model.bin").write_bytes(PAYLOAD[::-1])
    after = described(project, "EspPartitions", "")
    assert digest_of(project) in after
    assert after.splitlines()[1:] == before.splitlines()[1:]


@pytest.mark.toolchain
def test_the_licence_is_that_of_the_models_card(make_project: Callable[[str], Project]) -> None:
    project = make_project("licensed")
    write_checkpoint(project.folder / "tiny", FAMILIES["phi-3"], layers=1, seed=4)
    project.sconstruct(
        'model = env.GGUF("build/tiny.gguf", env.PhiModel("tiny"), quant="Q4_0")\n'
        'image = env.FirmwareImage("build/model.img", model)\n'
        'env.YoctoRecipe("build/tiny_1.0.bb", image, url="https://example.com")\n'
        'env.EspPartitions("build/partitions.csv", image)\n'
    )
    ran = project.scons()
    assert ran.status == 0, ran.text
    build = project.folder / "build"
    assert 'LICENSE = "MIT"\n' in (build / "tiny_1.0.bb").read_text()
    assert "# Licence: mit\n" in (build / "partitions.csv").read_text()
    card = project.folder / "tiny" / "README.md"
    card.write_text(card.read_text() + "Another remark.\n")
    assert changed_by(project.scons()) == []
    card.write_text(card.read_text().replace("license: mit", "license: apache-2.0"))
    assert changed_by(project.scons()) == ["build/partitions.csv", "build/tiny_1.0.bb"]
    assert 'LICENSE = "Apache-2.0"\n' in (build / "tiny_1.0.bb").read_text()


def changed_by(ran: Ran) -> list[str]:
    """The targets that were built or recalled."""
    return sorted(ran.names("built") + ran.names("recalled"))
