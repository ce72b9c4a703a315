"""Lock files: requirements format, every package pinned and hashed, with environment markers."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from phibuild.foreign import read_regular
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.errors import ToolchainError

_LARGEST = 16 << 20
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


class Pin(NamedTuple):
    """One package of a lock; `marker` is empty where it is installed everywhere."""

    name: str
    version: str
    marker: str


class Lock(NamedTuple):
    """The pins of a lock file, and the digest of its lines without comments and order."""

    pins: tuple[Pin, ...]
    digest: Digest

    def pins_here(self) -> tuple[Pin, ...]:
        """The pins whose marker holds in the running interpreter."""
        from packaging.markers import Marker

        return tuple(pin for pin in self.pins if not pin.marker or Marker(pin.marker).evaluate())


@cache
def read_lock(path: Path) -> Lock:
    """Read a lock file; ToolchainError PHI604 for a line that does not pin a package exactly."""
    try:
        content = read_regular(path, most=_LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ToolchainError(
            f"{path} cannot be read: {error}", hint="install the plugin that it belongs to again"
        ) from None
    text = re.sub(r"\\\n", " ", content)
    lines = sorted(
        " ".join(line.split())
        for raw in text.splitlines()
        if (line := raw.partition(" #")[0].strip()) and not line.startswith("#")
    )
    pins = []
    for line in lines:
        match = _PINNED.match(line)
        if match is None:
            raise ToolchainError(
                f"{path}: {line[:60]!r} does not pin a package",
                hint="each line is name==version, an optional marker, and its hashes",
            )
        marker = line.partition(";")[2].partition("--hash")[0].strip()
        pins.append(Pin(match[1].lower().replace("_", "-"), match[2], marker))
    return Lock(tuple(pins), digest_of_value(lines))
