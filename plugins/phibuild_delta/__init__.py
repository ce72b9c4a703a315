"""Deltas between two artifacts of one format, for updates over the air."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phibuild.api import Command, hookimpl

DEVICE_SOURCES = tuple(
    Path(__file__).with_name("device") / name for name in ("phi_delta.h", "phi_delta.c")
)
"""C99 that applies a delta on a device, together with the firmware plugin's phi_model.{h,c}."""


def _load_command() -> Any:
    from phibuild_delta.command import command

    return command


@hookimpl
def phibuild_commands() -> tuple[Command, ...]:
    """`phibuild delta`."""
    return (Command("delta", load=_load_command),)
