"""Writes the sources that a firmware needs for one model image: the verifier, a header with the
image that the firmware is built for and, on request, the files that embed the image."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import phiworker

from phibuild_firmware.descriptor import (
    SIGNED,
    SIZE,
    BadImage,
    Descriptor,
    Signature,
    descriptor_sha256,
    parse,
    signature_of,
)

_PLUGINS = Path(__file__).parent.parent
_DEVICE = (
    *("phibuild_firmware/device/phi_model.h", "phibuild_firmware/device/phi_model.c"),
    *("phibuild_delta/device/phi_delta.h", "phibuild_delta/device/phi_delta.c"),
)


def main(job: phiworker.Job) -> None:
    image = job.inputs["image"]
    with image.open("rb") as file:
        page = file.read(SIZE)
        try:
            descriptor, signature = parse(page), signature_of(page)
        except BadImage as error:
            raise phiworker.WorkerError(
                f"{image.name}: {error}",
                hint="pass what env.FirmwareImage(...) returned",
                code="PHI702",
            ) from None
    job.output.mkdir()
    for source in _DEVICE:
        shutil.copyfile(_PLUGINS / source, job.output / source.rpartition("/")[2])
    size = image.stat().st_size
    values = values_of(descriptor, page, size)
    if "public_key" in job.inputs:
        values |= trusted(job.inputs["public_key"], page, signature)
    (job.output / "phi_model_data.h").write_text(header(values), "utf-8")
    if job.recipe["embeds"]:
        with image.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        (job.output / "phi_model_data.S").write_text(assembly(descriptor, sha256), "utf-8")
        script = linker_script(size, job.recipe["budget"])
        (job.output / "phi_model_data.ld").write_text(script, "utf-8")


def values_of(descriptor: Descriptor, page: bytes, size: int) -> dict[str, str]:
    return {
        "IMAGE_SIZE": f"UINT64_C({size})",
        "PAYLOAD_OFFSET": f"UINT64_C({descriptor.payload_offset})",
        "PAYLOAD_SIZE": f"UINT64_C({descriptor.payload_size})",
        "ALIGNMENT": f"UINT32_C({descriptor.alignment})",
        "ID": quoted(descriptor.model_id),
        "RECIPE": quoted(descriptor.recipe),
        "DESCRIPTOR_SHA256": array(descriptor_sha256(page)),
        "PAYLOAD_SHA256": array(descriptor.payload_sha256),
        "TOKENIZER_DIGEST": array(descriptor.tokenizer_digest),
        "CHAT_TEMPLATE_DIGEST": array(descriptor.chat_template_digest),
    }


def trusted(path: Path, page: bytes, signature: Signature | None) -> dict[str, str]:
    """The key that the firmware trusts; WorkerError PHI705 if it did not sign this image."""
    from phibuild_firmware.signatures import is_good, key_id, public_key, raw

    key = public_key(path)
    if signature is None:
        raise phiworker.WorkerError(
            "the image is not signed, and public_key requires a signature",
            hint='write env.FirmwareImage(..., signing_key="keys/model.pem")',
            code="PHI705",
        )
    if signature.key_id != key_id(key) or not is_good(key, signature.signature, page[:SIGNED]):
        raise phiworker.WorkerError(
            f"the image is signed by the key {signature.key_id.hex()[:16]}..., and public_key is"
            f" {key_id(key).hex()[:16]}...",
            hint="pass the public key of the image's signing_key",
            code="PHI705",
        )
    return {"PUBLIC_KEY": array(raw(key)), "KEY_ID": array(key_id(key))}


def header(values: dict[str, str]) -> str:
    lines = [f"#define PHI_MODEL_{name} {value}" for name, value in values.items()]
    return "\n".join(
        [
            "/* The model image that this firmware is built for. Written by phibuild. */",
            "#ifndef PHI_MODEL_DATA_H",
            "#define PHI_MODEL_DATA_H",
            "",
            "#include <stdint.h>",
            "",
            *lines,
            "",
            "/* Of an embedded image: phi_model_data.S */",
            "extern const uint8_t phi_model_image[];",
            "extern const uint8_t phi_model_image_end[];",
            "",
            "#endif",
            "",
        ]
    )


def assembly(descriptor: Descriptor, sha256: str) -> str:
    """The digest is for build systems, which do not see what .incbin reads: the text, and so the
    object, changes with the model."""
    return f"""\
/* sha256 of the image: {sha256}
   Written by phibuild. Assemble with -Wa,-I and the folder that this file is in. */
    .section .rodata.phi_model, "a", %progbits
    .balign {descriptor.alignment}
    .global phi_model_image
    .type phi_model_image, %object
phi_model_image:
    .incbin "model.img"
    .global phi_model_image_end
phi_model_image_end:
    .size phi_model_image, phi_model_image_end - phi_model_image
    .section .note.GNU-stack, "", %progbits
"""


def linker_script(size: int, budget: int | None) -> str:
    lines = [
        "/* Written by phibuild. Link with it, or INCLUDE it in a linker script. */",
        f"ASSERT(phi_model_image_end - phi_model_image == {size},",
        '       "the object of phi_model_data.S holds another model than phi_model_data.h")',
    ]
    if budget is not None:
        lines += [
            f"ASSERT(phi_model_image_end - phi_model_image <= {budget},",
            '       "the model is larger than its slot_size")',
        ]
    return "\n".join(lines) + "\n"


def array(content: bytes) -> str:
    return "{" + ", ".join(f"0x{byte:02x}" for byte in content) + "}"


def quoted(text: str) -> str:
    """A C literal, with other characters than plain ASCII in octal, which ends after three digits,
    unlike \\x."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{plain}"'


if __name__ == "__main__":
    phiworker.run(main)
