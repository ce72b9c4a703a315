"""Budgets are checked before anything is quantized."""

from __future__ import annotations

import re

import pytest
from phibuild_firmware.descriptor import parse

from tests.backends.conftest import Tiny
from tests.conftest import Project
from tests.firmware.test_signing import put_keys

pytestmark = pytest.mark.toolchain
HEAD = 'phi = env.PhiModel("tiny")\nq = env.GGUF("dist/q8.gguf", phi, quant="Q8_0")\n'


def test_a_model_that_cannot_fit_is_refused_before_it_is_built(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    project = project_of_tiny
    tiny("phi-3")
    # Without these toolchains sizes are estimates, and are reported as such.
    assert project.phibuild("toolchain", "install", "gguf", "llama.cpp").status == 0
    project.sconstruct(HEAD + 'env.FirmwareImage("build/model.img", q, slot_size="1.5 MB")\n')
    ran = project.scons()
    assert ran.status == 2
    assert "gguf.write" not in ran.actions
    assert ran.actions.count("gguf.predict") <= 1
    assert not (project.folder / "dist" / "q8.gguf").exists()
    match = re.search(
        r"\[PHI701\] dist/q8.gguf \(Q8_0\) will have ([\d,]+) bytes, ([\d,]+) more", ran.text
    )
    assert match is not None, ran.text
    size, excess = (int(text.replace(",", "")) for text in match.groups())
    assert size - excess == 1_500_000 - 4096
    fitting = re.findall(r"(Q\w+) \(", ran.text.partition("these would fit: ")[2])
    assert len(fitting) == 3
    project.sconstruct(
        HEAD.replace("Q8_0", fitting[0])
        + 'env.FirmwareImage("build/model.img", q, slot_size="1.5 MB")\n'
    )
    ran = project.scons()
    assert ran.status == 0, ran.text
    project.sconstruct(HEAD)
    project.scons()
    assert (project.folder / "dist" / "q8.gguf").stat().st_size == size


def test_nothing_else_is_quantized_before_the_refusal(project_of_tiny: Project, tiny: Tiny) -> None:
    project = project_of_tiny
    tiny("phi-3")
    project.sconstruct(
        'phi = env.PhiModel("tiny")\nenv.GGUF("dist/q4.gguf", phi, quant="Q4_0")\n'
        'q = env.GGUF("dist/q8.gguf", phi, quant="Q8_0")\n'
        'env.FirmwareImage("build/model.img", q, slot_size="1.5 MB")\n'
    )
    for arguments in (("-j2",), ("-k",)):
        ran = project.scons(*arguments)
        assert ran.status == 2
        assert "[PHI701]" in ran.text
        assert "gguf.write" not in ran.actions


@pytest.mark.parametrize(
    ("package", "inside"),
    [
        (
            'env.MCUbootImage("build/it", image, signing_key="model.pem", version="1.0.0",'
            " slot_size=1_500_000, erase_size=4096)",
            1_500_000 - 4096 - 144 - 4096,  # header, TLVs, the trailer's block
        ),
        ('env.GenimageSlots("build/it", image, slot_size="1 MiB")', 1 << 20),
        ('env.EspPartitions("build/it", image, size="1 MiB")', 1 << 20),
    ],
)
def test_the_space_of_a_package_in_a_package_is_checked_too(
    project_of_tiny: Project, tiny: Tiny, package: str, inside: int
) -> None:
    project = project_of_tiny
    tiny("phi-3")
    put_keys(project, 1)
    project.sconstruct(
        f'{HEAD}image = env.FirmwareImage("build/model.img", q, erase_size=4096)\n{package}\n'
    )
    ran = project.scons()
    assert ran.status == 2
    assert "gguf.write" not in ran.actions
    match = re.search(
        r"will have (?:about )?([\d,]+) bytes, ([\d,]+) more than build/it has", ran.text
    )
    assert match is not None, ran.text
    size, excess = (int(text.replace(",", "")) for text in match.groups())
    assert size - excess == inside - inside % 4096 - 4096
    assert "and model image around it" in ran.text


def test_an_image_carries_the_digests_of_tokenizer_and_template(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    project = project_of_tiny
    tiny("phi-3")
    project.sconstruct(HEAD + 'env.FirmwareImage("build/model.img", q)\n')
    assert project.scons().status == 0
    first = parse((project.folder / "build" / "model.img").read_bytes())
    assert (first.format, first.model_id, first.recipe) == ("GGUF", "tiny", "GGUF Q8_0")
    assert first.tokenizer_digest != bytes(32)
    assert first.chat_template_digest not in (bytes(32), first.tokenizer_digest)
    assert project.scons().text == "scons: `.' is up to date.\n"


def test_memory_is_a_budget_too(project_of_tiny: Project, tiny: Tiny) -> None:
    project = project_of_tiny
    tiny("phi-3", layers=2, hidden=256)
    fields = 'ram_budget="4 MB", context=1024, ram_overhead="100 KB"'
    image = f'env.FirmwareImage("build/model.img", q, {fields})\n'
    project.sconstruct(HEAD + image)
    ran = project.scons()
    assert ran.status == 2
    assert "gguf.write" not in ran.actions
    assert ran.actions.count("gguf.predict") <= 1
    match = re.search(r"less ([\d,]+) of KV cache for 1024 tokens and 100,000", ran.text)
    assert match is not None, ran.text
    # Two layers of 256 key and 256 value numbers, two bytes each.
    assert int(match[1].replace(",", "")) == 2 * 2 * 256 * 1024 * 2
    project.sconstruct(HEAD + image.replace("1024", "1024, kv_bits=8"))
    assert project.scons().status == 0
