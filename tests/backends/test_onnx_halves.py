"""ONNX in fp16 runs on a CPU, with logits close to fp32's."""

from __future__ import annotations

import pytest

from tests.backends.conftest import Tiny
from tests.backends.slices import run_toolkit
from tests.conftest import Project

pytestmark = pytest.mark.toolchain

FAMILIES = ("phi-2", "phi-4-mini")
LARGEST_DIFFERENCE = """
import sys
import numpy
import onnxruntime_genai as genai

def logits(folder):
    model = genai.Model(folder)
    settings = genai.GeneratorParams(model)
    settings.set_search_options(max_length=80, do_sample=False)
    generator = genai.Generator(model, settings)
    generator.append_tokens([5, 17, 300, 44, 9, 120, 7, 8])
    for number in range(40):
        yield numpy.array(generator.get_output("logits"), dtype=numpy.float32)[0, -1]
        generator.append_tokens([number * 37 % 900 + 3])

for half, single in zip(sys.argv[1::2], sys.argv[2::2]):
    halves, singles = (numpy.stack(list(logits(folder))) for folder in (half, single))
    print(numpy.abs(halves - singles).max() / singles.std())
"""


def test_logits_of_fp16_equal_those_of_fp32_except_for_rounding(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    """fp16 has eleven bits; tiny models of random weights have short sums."""
    lines = []
    for family in FAMILIES:
        tiny(family, name=family, layers=2)
        lines += [f'phi = env.PhiModel("{family}")']
        lines += [
            f'env.OnnxGenAI("dist/{family}-{precision}", phi, precision="{precision}")'
            for precision in ("fp16", "fp32")
        ]
    project_of_tiny.sconstruct("\n".join(lines))
    ran = project_of_tiny.scons("-j2")
    assert ran.status == 0, ran.text
    folders = [
        project_of_tiny.folder / "dist" / f"{family}-{precision}"
        for family in FAMILIES
        for precision in ("fp16", "fp32")
    ]
    differences = [
        float(line) for line in run_toolkit("onnx", LARGEST_DIFFERENCE, *folders).split()
    ]
    assert len(differences) == len(FAMILIES)
    assert max(differences) < 0.02
