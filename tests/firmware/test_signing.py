"""Signed images: which keys sign, what a device refuses, and that no private key is left behind."""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from phibuild_firmware.descriptor import (
    SIGNED,
    BadImage,
    Descriptor,
    Signature,
    parse,
    signature_of,
    with_signature,
)

from tests.conftest import Project
from tests.firmware.tools import needed_library, needed_tool

EXAMPLE = Path(__file__).parents[2] / "examples" / "signed_image"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-g", "-O1")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover")
IMAGE = 'image = env.FirmwareImage("build/model.img", "model.bin", signing_key="model.pem")\n'
SOURCES = 'env.DeviceSources("build/device", image, public_key="model.pub.pem")\n'


def a_key(seed: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(random.Random(seed).randbytes(32))


def pem(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def put_keys(project: Project, seed: int) -> ed25519.Ed25519PrivateKey:
    """The pair of this seed as the project's model.pem and model.pub.pem."""
    key = a_key(seed)
    (project.folder / "model.pem").write_bytes(pem(key))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (project.folder / "model.pub.pem").write_bytes(public)
    return key


@pytest.fixture
def signing(make_project: Callable[[str], Project], tmp_path: Path) -> Project:
    """A project with a signed image of a file that no other test has, and the device's sources."""
    project = make_project("signing")
    (project.folder / "model.bin").write_bytes(str(tmp_path).encode() * 1000)
    put_keys(project, 1)
    project.sconstruct(IMAGE + SOURCES)
    return project


def image_of(project: Project) -> bytes:
    return (project.folder / "build" / "model.img").read_bytes()


def checker(project: Project, name: str = "check_model") -> Path:
    """The example's program with this project's key inside, under sanitizers."""
    for name in ("libasan", "sodium.h"):
        needed_library(name)
    device, program = project.folder / "build" / "device", project.folder / name
    sources = [EXAMPLE / "main.c", EXAMPLE / "verify_sodium.c", device / "phi_model.c"]
    command = ["cc", *STRICT, *SANITIZED, f"-I{device}", *sources, "-lsodium", "-o", program]
    subprocess.run(command, check=True)
    return program


def run_on(program: Path, image: Path) -> tuple[int, str]:
    done = subprocess.run([program, image], stdout=subprocess.PIPE, text=True)
    return done.returncode, done.stdout.strip()


def test_the_format_of_a_signature_is_pinned() -> None:
    descriptor = Descriptor(
        "GGUF", 0, 4096, 5, b"\1" * 32, b"\2" * 32, b"\3" * 32, 4096, "phi", "Q4_K_M"
    )
    page = descriptor.to_bytes()
    assert signature_of(page) is None
    signed = with_signature(page, Signature(b"\4" * 32, b"\5" * 64))
    assert signed[:SIGNED] == page[:400]
    assert signed[400:] == b"\1" + bytes(7) + b"\4" * 32 + b"\5" * 64 + bytes(8)
    assert parse(signed) == descriptor
    assert signature_of(signed) == Signature(b"\4" * 32, b"\5" * 64)
    with pytest.raises(BadImage, match="of kind 2"):
        signature_of(signed[:400] + b"\2" + signed[401:])


@pytest.mark.toolchain
def test_the_signature_is_that_of_the_key_over_the_descriptor(signing: Project) -> None:
    ran = signing.scons()
    assert ran.status == 0, ran.text
    public = a_key(1).public_key()
    signature = signature_of(image_of(signing)[:512])
    assert signature is not None
    public.verify(signature.signature, image_of(signing)[:400])
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert signature.key_id == hashlib.sha256(raw).digest()
    shown = signing.phibuild("show", "build/model.img").text
    assert "signature = ed25519" in shown
    assert f"key_id = {signature.key_id.hex()}" in shown
    assert signing.scons().text == "scons: `.' is up to date.\n"


@pytest.mark.toolchain
def test_another_key_signs_again_and_builds_nothing_else(signing: Project) -> None:
    """What is signed here is an artifact, so that the actions behind it would be seen."""
    signing.write("quantize.py", QUANTIZE)
    model = 'env.Artifact("build/model.bin", worker="quantize.py", inputs={"model": "model.bin"})\n'
    signing.sconstruct(model + IMAGE.replace('"model.bin"', '"build/model.bin"') + SOURCES)
    ran = signing.scons()
    assert ran.actions == ["quantize", "firmware.image", "firmware.sources"], ran.text
    before = image_of(signing)
    put_keys(signing, 2)
    assert signing.scons().actions == ["firmware.image", "firmware.sources"]
    after = image_of(signing)
    assert before[:400] + before[512:] == after[:400] + after[512:]
    assert before[408:504] != after[408:504]
    put_keys(signing, 1)
    assert signing.scons().actions == []
    assert image_of(signing) == before


QUANTIZE = """\
import phiworker
def main(job):
    job.output.write_bytes(job.inputs["model"].read_bytes())
phiworker.run(main)
"""


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("key", "said"),
    [
        (pem(a_key(1), BestAvailableEncryption(b"word")), "the signing key is encrypted"),
        (pem(ec.derive_private_key(7, ec.SECP256R1())), "is not a private ed25519 key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n", "is not a private ed25519 key in PEM"),
        (b"", "is not a private ed25519 key in PEM"),
    ],
)
def test_a_key_that_cannot_sign_is_refused(signing: Project, key: bytes, said: str) -> None:
    (signing.folder / "model.pem").write_bytes(key)
    ran = signing.scons()
    assert ran.status == 2
    assert "[PHI704]" in ran.text
    assert said in ran.text


def test_a_missing_key_is_named(project: Project) -> None:
    project.write("model.bin", "x")
    project.sconstruct(IMAGE)
    ran = project.scons()
    assert ran.status == 2
    assert "Source `model.pem' not found" in ran.text


@pytest.mark.toolchain
@pytest.mark.parametrize("succeeds", [True, False])
def test_nothing_of_the_private_key_is_left_behind(project: Project, succeeds: bool) -> None:
    """Not in the store, a log, a manifest, an artifact, SCons' own file or the output; also after a
    build that failed while signing."""
    (project.folder / "model.bin").write_bytes(b"model" * 1000)
    key = put_keys(project, 1)
    slot = "" if succeeds else ', slot_size="4500"'
    project.sconstruct(
        IMAGE.replace(")\n", f"{slot})\n")
        + SOURCES
        + 'env.MCUbootImage("build/m.bin", image, signing_key="model.pem", version="1.0.0")\n'
    )
    ran = project.scons()
    assert (ran.status == 0) is succeeds, ran.text
    project.phibuild("show", "build/model.img")
    secret = key.private_bytes_raw()
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    forms = (secret, secret.hex().encode(), base64.b64encode(secret), base64.b64encode(der))
    seen = 0
    for path in project.folder.parent.rglob("*"):
        if path.is_file() and path.name != "model.pem":
            seen += 1
            content = path.read_bytes()
            assert not any(form in content for form in forms), path
    assert seen > 100
    assert not any(form in ran.text.encode() for form in forms)


@pytest.mark.toolchain
def test_a_device_accepts_what_its_key_signed_and_nothing_else(
    signing: Project, tmp_path: Path
) -> None:
    assert signing.scons().status == 0
    program, image = checker(signing), signing.folder / "build" / "model.img"
    assert run_on(program, image) == (0, "ok")
    other = tmp_path / "other.img"
    intact = image.read_bytes()
    for at, status in (
        (440, "the signature is wrong"),
        (503, "the signature is wrong"),
        (408, "the signature is wrong"),
        (150, "the descriptor was changed"),
        (4096, "the payload was changed"),
    ):
        other.write_bytes(intact[:at] + bytes([intact[at] ^ 1]) + intact[at + 1 :])
        assert run_on(program, other) == (1, status)
    other.write_bytes(intact[:400] + bytes(112) + intact[512:])
    assert run_on(program, other) == (1, "the image is not signed")
    # Signed anew by another key: under that key's name, and under the name of the trusted one.
    stranger = a_key(2)
    signature = stranger.sign(intact[:400])
    name = hashlib.sha256(stranger.public_key().public_bytes_raw()).digest()
    for key_id in (name, intact[408:440]):
        page = with_signature(intact[:512], Signature(key_id, signature))
        other.write_bytes(page + intact[512:])
        assert run_on(program, other) == (1, "the signature is wrong")


@pytest.mark.toolchain
def test_a_model_can_be_updated_without_its_firmware(signing: Project) -> None:
    assert signing.scons().status == 0
    program = checker(signing)
    (signing.folder / "model.bin").write_bytes(b"a newer model" + str(signing.folder).encode())
    assert signing.scons().status == 0
    assert run_on(program, signing.folder / "build" / "model.img") == (0, "ok")


@pytest.mark.toolchain
def test_a_firmware_that_would_refuse_its_image_is_not_built(signing: Project) -> None:
    private = (signing.folder / "model.pem").read_bytes()
    put_keys(signing, 2)
    (signing.folder / "model.pem").write_bytes(private)
    ran = signing.scons()
    assert ran.status == 2
    assert "[PHI705] the image is signed by the key" in ran.text
    signing.sconstruct(IMAGE.replace(', signing_key="model.pem"', "") + SOURCES)
    ran = signing.scons()
    assert ran.status == 2
    assert "[PHI705] the image is not signed" in ran.text


@pytest.mark.toolchain
def test_a_private_key_is_not_a_public_key(signing: Project) -> None:
    shutil.copyfile(signing.folder / "model.pem", signing.folder / "model.pub.pem")
    ran = signing.scons()
    assert ran.status == 2
    assert "[PHI704] the public key is not a public ed25519 key in PEM" in ran.text


def test_without_signatures_nothing_is_installed(project: Project) -> None:
    project.write("model.bin", "x")
    project.sconstruct(IMAGE.replace(', signing_key="model.pem"', ""))
    assert project.scons().status == 0
    assert not list((project.folder.parent / "store").glob("toolchains/signing-*"))


@pytest.mark.toolchain
def test_the_example_builds_and_checks(tmp_path: Path) -> None:
    for name in ("signed_image", "firmware"):
        ignored = shutil.ignore_patterns("build", ".scons*", "*.pem")
        shutil.copytree(EXAMPLE.parent / name, tmp_path / name, ignore=ignored)
    project = Project(tmp_path / "signed_image")
    openssl = needed_tool("openssl")
    needed_library("sodium.h")
    project.run(openssl, "genpkey", "-algorithm", "ed25519", "-out", "model.pem")
    project.run(openssl, "pkey", "-in", "model.pem", "-pubout", "-out", "model.pub.pem")
    ran = project.scons()
    assert ran.status == 0, ran.text
    build = project.folder / "build"
    assert run_on(build / "check_model", build / "model.img") == (0, "ok")
    verified = project.run("imgtool", "verify", "-k", "model.pub.pem", "build/model.mcuboot.bin")
    assert verified.status == 0, verified.text
