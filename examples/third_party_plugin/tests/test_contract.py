"""The plugin fulfils phibuild's contract for backends: every test comes from the base class."""

from __future__ import annotations

from typing import Any, ClassVar

from phibuild.testing import BackendContract


class TestInt8Safetensors(BackendContract):
    backend_name = "int8-safetensors"
    good_fields: ClassVar[list[dict[str, Any]]] = [
        {},
        {"group_size": 32},
        {"scale_dtype": "float16"},
        {"keep": ["lm_head.weight", "*embed_tokens*"]},
    ]
    bad_fields: ClassVar[list[dict[str, Any]]] = [
        {"group_size": 4},
        {"group_size": "row"},
        {"scale_dtype": "int8"},
        {"keep": "lm_head.weight"},
        {"keep": [""]},
        {"bits": 4},
    ]
