"""IR documents: reproducible writing, and reading within bounds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from phibuild_openvino.describe import describe
from phibuild_openvino.ir_writer import renumbered

from phibuild.api import PhiError, Tensor

NAMED = """\
<net name="Model{net}"><layers>
<layer id="0" name="input_ids" type="Parameter"><port names="input_ids,Result_{one}"/></layer>
<layer id="1" name="Convert_{one}.0" type="Convert"/>
<layer id="2" name="Slice_{two}" type="Const"/>
<layer id="3" name="Constant_{two}_compressed" type="Const"/>
<layer id="4" name="past_7" type="Result" output_names="past_7,Result_{one}"/>
</layers><rt_info><note value="Convert_{one} is text"/></rt_info></net>
"""


def test_running_numbers_in_an_ir_are_counted_from_its_beginning() -> None:
    text = NAMED.format(net=0, one=123, two=9)
    result = renumbered(text.replace("is text", "").replace("Convert_123 ", ""))
    assert result == renumbered(
        NAMED.format(net=31, one=77, two=20).replace("Convert_77 is text", "")
    )
    names = re.findall(r'name="(.*?)" type', result)
    assert names == ["input_ids", "Convert_1.0", "Slice_2", "Constant_3_compressed", "past_7"]
    assert result.count('Result_0"') == 2
    assert 'note value="Convert_123 is text"' in renumbered(text)


LAYERS = """\
<layer id="0" name="w" type="Const"><data element_type="u4" shape="2, 8" offset="0" size="8"/>
</layer>
<layer id="1" name="w/scale" type="Const">
<data element_type="f16" shape="2, 1" offset="8" size="4"/></layer>
<layer id="2" name="axis" type="Const"><data element_type="i64" shape="2" offset="12" size="16"/>
</layer>
<layer id="3" name="w again" type="Const"><data element_type="u4" shape="2, 8" offset="0" size="8"/>
</layer>
<layer id="4" name="sum" type="Add"><data auto_broadcast="numpy"/>
<rt_info><attribute name="x" version="0" value="y"/></rt_info></layer>
"""
NOTES = """\
<rt_info><Runtime_version value="2026.4"/>
<nncf><weight_compression><mode value="int4_asym"/><advanced_parameters value="{}"/>
</weight_compression></nncf></rt_info>
"""


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("<a>" * 300 + "</a>" * 300, "nested too deeply"),
        (
            LAYERS.replace('shape="2, 8"', f'shape="{",".join("1" * 17)}"'),
            "more than 16 dimensions",
        ),
        (LAYERS.replace('size="8"', f'size="{"9" * 5000}"'), "limit"),
    ],
)
def test_an_ir_beyond_the_limits_is_refused(tmp_path: Path, layers: str, message: str) -> None:
    write_ir(tmp_path, layers=layers)
    with pytest.raises(PhiError, match=message) as caught:
        describe(tmp_path)
    assert (caught.value.code, bool(caught.value.hint)) == ("PHI303", True)


def write_ir(folder: Path, *, layers: str = LAYERS, stored: int = 28, before: str = "") -> Path:
    document = (
        f'<?xml version="1.0"?>{before}<net name="Model0"><layers>{layers}</layers>{NOTES}</net>'
    )
    (folder / "openvino_model.xml").write_text(document)
    (folder / "openvino_model.bin").write_bytes(bytes(stored))
    return folder


def test_an_artifact_is_described_by_its_constants_and_notes(tmp_path: Path) -> None:
    description = describe(write_ir(tmp_path))
    assert description.format == "OpenVINO IR"
    assert description.tensors == (
        Tensor("w", "u4", (2, 8), 8, 0, "openvino_model.bin"),
        Tensor("w/scale", "f16", (2, 1), 4, 8, "openvino_model.bin"),
    )
    assert description.metadata == (
        ("Runtime_version", "2026.4"),
        ("nncf.weight_compression.mode", "int4_asym"),
    )


def constant(**changes: str) -> str:
    data = {"element_type": "f16", "shape": "2, 3", "offset": "0", "size": "12"} | changes
    attributes = " ".join(f'{name}="{value}"' for name, value in data.items())
    return f'<layer id="0" name="w" type="Const"><data {attributes}/></layer>'


@pytest.mark.parametrize(
    "layers",
    [
        constant(offset="20"),
        constant(offset="-4"),
        constant(size="4000", shape="2000"),
        constant(size="8"),
        constant(shape="-2, -3"),
        constant(shape="2, x"),
        '<layer name="w" type="Const"><data shape="2"/></layer>',
        "<layer>",
        "</layers></net>",
        '<layer name="&bomb;" type="Const"/>',
    ],
)
def test_an_inconsistent_document_is_refused(tmp_path: Path, layers: str) -> None:
    with pytest.raises(PhiError) as caught:
        describe(write_ir(tmp_path, layers=layers))
    assert caught.value.code == "PHI303"
    assert caught.value.hint


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    with pytest.raises(PhiError, match="document type"):
        describe(write_ir(tmp_path, before=bomb))


@pytest.mark.parametrize("missing", ["openvino_model.xml", "openvino_model.bin"])
def test_an_artifact_without_one_of_its_files_is_refused(tmp_path: Path, missing: str) -> None:
    (write_ir(tmp_path) / missing).unlink()
    with pytest.raises(PhiError) as caught:
        describe(tmp_path)
    assert caught.value.code == "PHI303"
