"""The largest absolute value of a tensor, from its raw bytes."""

from __future__ import annotations

from typing import Any

# dtype: numpy type of the bits, mask of exponent and mantissa, bits of infinity.
_LAYOUTS = {
    "BF16": ("<u2", 0x7FFF, 0x7F80),
    "F16": ("<u2", 0x7FFF, 0x7C00),
    "F32": ("<u4", 0x7FFF_FFFF, 0x7F80_0000),
}


class Magnitude:
    """Reads a tensor's bytes in parts. Without the sign, the bits of floating point numbers are in
    the order of the numbers, with infinity and NaN last: one integer maximum finds them."""

    def __init__(self, dtype: str) -> None:
        import numpy  # slow to import, and a null build reads no tensor

        self._numpy = numpy
        self._dtype = dtype
        self._bits = 0
        self._rest = b""

    def update(self, data: memoryview) -> None:
        """Add the next bytes, which may end inside a value."""
        layout = _LAYOUTS.get(self._dtype)
        if layout is None:
            return
        kind, mask, _ = layout
        width = int(kind[-1])
        if self._rest or len(data) % width:
            joined = self._rest + bytes(data)
            whole = len(joined) - len(joined) % width
            self._rest, data = joined[whole:], memoryview(joined)[:whole]
        values = self._numpy.frombuffer(data, kind)
        if len(values):
            self._bits = max(self._bits, int((values & values.dtype.type(mask)).max()))

    @property
    def largest(self) -> float:
        """The largest absolute value; infinity if a value is infinite or not a number; 0 for other
        dtypes than BF16, F16 and F32."""
        layout = _LAYOUTS.get(self._dtype)
        if layout is None:
            return 0.0
        if self._bits >= layout[2]:
            return float("inf")
        return float(self._value())

    def _value(self) -> Any:
        if self._dtype == "F16":
            return self._numpy.uint16(self._bits).view(self._numpy.float16)
        bits = self._bits << 16 if self._dtype == "BF16" else self._bits
        return self._numpy.uint32(bits).view(self._numpy.float32)
