"""Sizes as people write and read them: "2.5 GB" is 2.5 x 10^9 bytes, "2.5 GiB" is 2.5 x 2^30."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B|B|)", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """Bytes; ValueError for anything but a number with an optional unit."""
    if isinstance(text, int):
        if text < 0:
            raise ValueError(f"{text} is negative")
        return text
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as '2.5 GB' or '512 MiB'")
    unit = match[2].upper().replace("IB", "iB")
    size = float(match[1]) * _UNITS[unit]
    if size >= 1 << 63:
        raise ValueError(f"{match[1][:20]}... {unit} is more than any file has")
    return int(size)


def show_size(size: int) -> str:
    """The size with three digits in decimal units: 2390000000 is '2.39 GB'."""
    value = float(size)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def show_seconds(seconds: float) -> str:
    """Durations for people: '0.4 s', '38 s', '2 min 05 s', '1 h 12 min'."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
