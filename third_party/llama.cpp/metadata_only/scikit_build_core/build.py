"""Gives pip the metadata of a source distribution that is only unpacked (PEP 517)."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: dict[str, str] | None = None
) -> str:
    """Write the metadata of the fetched release and return the folder's name."""
    name, version = os.environ["PHIBUILD_SDIST_NAME"], os.environ["PHIBUILD_SDIST_VERSION"]
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    Path(metadata_directory, folder).mkdir()
    Path(metadata_directory, folder, "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )
    return folder
