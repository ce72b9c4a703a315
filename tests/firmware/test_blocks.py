"""Updaters that know nothing of models and compare blocks of a fixed size, as RAUC's
block-hash-index does: the padded metadata of GGUF keeps the weights in place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from phibuild.testing.checkpoint_edits import chat_template, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project

BLOCK = 4096


@pytest.mark.toolchain
def test_a_longer_chat_template_moves_no_block_of_weights(
    make_project: Callable[[str], Project],
) -> None:
    project = make_project("blocks")
    model = write_checkpoint(project.folder / "model", FAMILIES["phi-3"], hidden=512, seed=71)
    project.sconstruct(
        'q4 = env.GGUF("dist/model.gguf", env.PhiModel("model"), quant="Q4_0")\n'
        'env.FirmwareImage("dist/model.img", q4)\n'
    )

    def built() -> dict[str, list[bytes]]:
        ran = project.scons()
        assert ran.status == 0, ran.text
        contents = {
            name: (project.folder / "dist" / name).read_bytes()
            for name in ("model.gguf", "model.img")
        }
        return {
            name: [content[at : at + BLOCK] for at in range(0, len(content), BLOCK)]
            for name, content in contents.items()
        }

    before = built()
    set_chat_template(model, chat_template(model) + "{# " + "longer " * 200 + "#}")
    after = built()
    for name, blocks in after.items():
        assert len(blocks) == len(before[name])
        changed = [
            at for at, pair in enumerate(zip(blocks, before[name], strict=True)) if len({*pair}) > 1
        ]
        assert changed
        assert max(changed) * BLOCK < 4 << 16  # metadata, in steps of 64 KiB
        print(f"{name}: {len(changed)} of {len(blocks)} blocks changed")
        assert len(changed) < 0.05 * len(blocks)
