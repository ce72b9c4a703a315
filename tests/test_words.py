"""The words that docs/glossary.md rules out do not come back, as names or in prose."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
AREAS = [
    *(path for top in ("phibuild", "plugins", "tests") for path in sorted((TOP / top).iterdir())),
    *(TOP / name for name in ("docs", "examples", "run", "README.md", "CONTRIBUTING.md")),
]
NAMES = {
    "one": "the noun: input, target, tensor",
    "what": "the noun",
    "found": "the noun: path, match, result",
    "taken": "the noun",
    "told": "reported, given, known",
    "tells": "says, reports",
    "asked": "requested",
    "made": "built, result, output",
    "wanted": "the noun: targets, expected",
    "laid": "layout",
    "placed": "place",
}
"""Not the whole name of a variable, an argument, a function, a class or a field."""
PROSE = {
    r"told|tells?|telling": "reported, given, known, says",
    r"asked( for)?|asks for": "requested, requests",
    r"cannot be had|can not be had": "is not supported",
    r"will not do": "must be ...",
    r"in vain": "has no effect, without effect",
    r"leav(e|es|ing) away|left away": "leave out",
    r"is looked": "checks",
    r"as (it|they) (was|were) before": "unchanged",
    r"meanwhile": "while ...",
    r"(is|are) no(?! (longer|more|such|need|reason|way|other|one|room|limit|result|sign|place)\b)"
    r" [a-z]+": "is not a ...",
    r"of others": "third-party, other people's",
}
"""Not in comments, docstrings, messages and documents; quote a word to speak of it: `told`."""
_PROSE = {re.compile(rf"\b({words})\b", re.IGNORECASE): hint for words, hint in PROSE.items()}
_CODE = re.compile(r"```.*?```|`[^`\n]*`|<[a-z][^>]*>", re.DOTALL)


def violations(path: Path) -> Iterator[str]:
    """Each as file:line, the word, and what to write instead."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        prose = _CODE.sub(lambda code: "\n" * code[0].count("\n"), text)
        for number, line in enumerate(prose.splitlines(), 1):
            yield from _in_prose(path, number, line)
        return
    for node in ast.walk(ast.parse(text)):
        name = _name(node)
        if name is not None and name.strip("_").lower() in NAMES:
            hint = NAMES[name.strip("_").lower()]
            yield f"{path}:{getattr(node, 'lineno', 0)}: the name {name}: {hint}"
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for offset, line in enumerate(token.string.splitlines()):
                yield from _in_prose(path, token.start[0] + offset, _CODE.sub("", line))


def _name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(name, ast.Store()) | ast.arg(name) | ast.FunctionDef(name):
            return name
        case ast.ClassDef(name) | ast.Attribute(attr=name, ctx=ast.Store()):
            return name
    return None


def _in_prose(path: Path, number: int, line: str) -> Iterator[str]:
    for pattern, hint in _PROSE.items():
        for match in pattern.finditer(line):
            yield f"{path}:{number}: {match[0]!r}: {hint}"


def files(area: Path) -> list[Path]:
    """What is read of an area: Python sources and Markdown, other people's code excepted."""
    if area.is_file():
        return [area] if area.suffix in (".py", ".md") or area.name == "run" else []
    every = [*area.rglob("*.py"), *area.rglob("*.md"), *area.rglob("SCons*")]
    return sorted(path for path in every if path.is_file() and path != Path(__file__))


@pytest.mark.parametrize("area", AREAS, ids=lambda area: str(area.relative_to(TOP)))
def test_only_plain_words_are_used(area: Path) -> None:
    banned = [violation for path in files(area) for violation in violations(path)]
    assert not banned, "\n".join(banned)
