"""Calls of every builder with every odd value, for an SConstruct: each either declares something or
ends in one error with a code and a hint."""

from __future__ import annotations

import datetime
import decimal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import SCons.Errors

from phibuild.model.recipe import rules_of
from phibuild.scons.session import session

Attempt = tuple[str, Callable[[str], object]]
"""What is attempted, and the call with the path of a target."""

HOSTILE_NAMES = (
    *(
        "a b",
        "a'b",
        'a"b',
        "a$b",
        "a$(b",
        "a${b",
        "a${1/0}",
        "a%b",
        "%s",
        "a\nb",
        "a\tb",
        "\x1b[2J",
    ),
    *(
        "a\udcffb",
        "\ud800",
        "a\0b",
        "n" * 300,
        "d/" * 2100 + "x",
        "a:b",
        "a#b",
        "#a",
        "-x",
        "[red]",
    ),
    *("[/x]", "*", "?", "é", "a;b", "`id`", "|", "$HOME/x", "$$x", "a\\b", "~x", "", ".", ".."),
)


class Unprintable:
    """Fails to say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def odd_values() -> dict[str, Any]:
    """By name."""
    endless: list[Any] = []
    endless.append(endless)
    numbers = {"0": 0, "-1": -1, "2^63": 2**63, "10^400": 10**400, "0.5": 0.5, "1j": 1j}
    floats = {name: float(name) for name in ("nan", "inf", "-inf")}
    texts = {"empty": "", "nul": "a\0b", "half": "\ud800", "escape": "\x1b[31m", "line": "a\nb"}
    lists = {"[]": [], "[[1]]": [[1]], "['a', 1]": ["a", 1], "(1,)": (1,), "endless": endless}
    mappings = {"{}": {}, "{1: 2}": {1: 2}, "{'a': None}": {"a": None}}
    arrays = {"int64": numpy.int64(4), "float32": numpy.float32(0.5), "bool_": numpy.bool_(True)}
    others = {
        "None": None,
        "True": True,
        "x": "x",
        "4": "4",
        "long": "x" * 100_000,
        "bytes": b"x",
        "set": {1},
        "frozenset": frozenset("a"),
        "Path": Path("x"),
        "lambda": lambda: 1,
        "object": object(),
        "class": int,
        "generator": (letter for letter in "ab"),
        "date": datetime.date(2020, 1, 1),
        "decimal": decimal.Decimal("0.5"),
        "array": numpy.zeros(3),
        "str_": numpy.str_("int4"),
        "unprintable": Unprintable(),
    }
    return numbers | floats | texts | lists | mappings | arrays | others


def attempts(env: Any) -> Iterator[Attempt]:
    """All of them. The project has a checkpoint m, a text in.txt, a worker w.py and a pipe."""
    odd = odd_values()
    registry = session().shop.registry
    model = ("m",)
    kinds = ((registry.backends, model), (registry.packagers, ("in.txt",)), (registry.runtimes, ()))
    for offers, sources in kinds:
        for builder, offer in offers.items():
            make = getattr(env, builder)
            extras = getattr(offer, "extras", ())
            for name in (*rules_of(offer.recipe), *extras, "toolchain", "not_a_field"):
                for kind, value in odd.items():
                    yield f"{builder} {name}={kind}", partial(_with, make, sources, {name: value})
            for kind, value in odd.items():
                yield f"{builder} target={kind}", partial(_ignoring, make, value, *sources)
                if sources:
                    yield f"{builder} source={kind}", partial(_with, make, (value,), {})
            for name in extras:
                yield f"{builder} {name}=pipe", partial(_with, make, sources, {name: "pipe"})
            if sources:
                yield f"{builder} source=pipe", partial(_with, make, ("pipe",), {})
    yield from _of_artifacts(env, odd)
    yield from _of_generation(env, odd)
    for name in HOSTILE_NAMES:
        good = {"worker": "w.py", "inputs": {"text": "in.txt"}}
        inputs = {"worker": "w.py", "inputs": {"text": name}}
        yield f"target {name[:20]!r}", partial(_ignoring, env.Artifact, f"out/{name}", **good)
        yield f"input {name[:20]!r}", partial(_with, env.Artifact, (), inputs)
        yield f"model {name[:20]!r}", partial(_ignoring, env.PhiModel, name)


def _of_artifacts(env: Any, odd: dict[str, Any]) -> Iterator[Attempt]:
    make = env.Artifact
    for kind, value in odd.items():
        for name in (
            "worker",
            "modules",
            "inputs",
            "toolchain",
            "network",
            "label",
            "of_the_recipe",
        ):
            fields = {"worker": "w.py", name: value}
            yield f"Artifact {name}={kind}", partial(_with, make, (), fields)
        fields = {"worker": "w.py", "inputs": {"text": value}}
        yield f"Artifact input={kind}", partial(_with, make, (), fields)
        yield f"Artifact target={kind}", partial(_ignoring, make, value, worker="w.py")
        yield f"PhiModel {kind}", partial(_ignoring, env.PhiModel, value)
    for fields in ({"worker": "pipe"}, {"worker": "w.py", "inputs": {"text": "pipe"}}):
        yield f"Artifact {fields}", partial(_with, make, (), fields)
    yield "PhiModel pipe", partial(_ignoring, env.PhiModel, "pipe")


def _of_generation(env: Any, odd: dict[str, Any]) -> Iterator[Attempt]:
    artifact = env.MLX("out/mlx", "m", precision="int4")
    for kind, value in odd.items():
        for name in ("prompt", "expect", "max_tokens", "toolchain"):
            fields = {"prompt": "x", name: value}
            yield f"Generate {name}={kind}", partial(_with, env.Generate, (artifact,), fields)
        fields = {"prompt": "x"}
        yield f"Generate artifact={kind}", partial(_with, env.Generate, (value,), fields)


def _with(make: Any, sources: tuple[Any, ...], fields: dict[str, Any], target: str) -> object:
    return make(target, *sources, **fields)


def _ignoring(make: Any, *given: Any, **fields: Any) -> object:
    *given_here, _ = given
    return make(*given_here, **fields)


@dataclass
class Count:
    """How the attempts ended."""

    declared: int = 0
    refused: int = 0
    ugly: list[str] = field(default_factory=list)


def count(env: Any) -> Count:
    """Make all attempts."""
    counted = Count()
    for number, (name, call) in enumerate(attempts(env)):
        try:
            call(f"out/t{number}")
            counted.declared += 1
        except SCons.Errors.StopError as error:
            counted.refused += 1
            if "[PHI" not in str(error) or "hint:" not in str(error):
                counted.ugly.append(f"{name}: {error}")
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            counted.ugly.append(f"{name}: {error!r} at {place.filename}:{place.lineno}")
    return counted
