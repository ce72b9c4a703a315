"""Runs a call within bounds of memory and of processor time, in a copy of this process."""

from __future__ import annotations

import os
import resource
import traceback
from collections.abc import Callable
from pathlib import Path

from phibuild.model.errors import CODES, PhiError

MEMORY = 1 << 30
"""Bytes of address space beyond those that the process has."""
SECONDS = 20
"""Of processor time: what is bounded takes less than one, and what is not never ends."""


def outcome(call: Callable[[], object]) -> str:
    """ "right" or the code of the PhiError that the call raised. AssertionError for any other
    exception, an error without a hint, and a call that takes more than it may."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.write(writer, _judged(call).encode(errors="backslashreplace")[:60_000])
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:  # noqa: PTH123 - a descriptor
        text = answer.read().decode()
    _, status = os.waitpid(child, 0)
    assert text, f"ended by signal {os.waitstatus_to_exitcode(status)}"
    assert text in ("right", *CODES), text
    return text


def _judged(call: Callable[[], object]) -> str:
    counts = Path("/proc/self/statm")  # not on macOS, whose address spaces are not limited
    if counts.exists():
        used = int(counts.read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        call()
    except PhiError as error:
        if not error.hint:
            return f"an error without a hint: {error}"
        return error.code
    except BaseException:
        return traceback.format_exc()
    return "right"
