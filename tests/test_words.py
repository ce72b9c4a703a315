"""The words that docs/glossary.md rules out are not used, as names or in prose."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
GLOSSARY = TOP / "docs" / "glossary.md"
AREAS = [
    *(path for top in ("phibuild", "plugins", "tests") for path in sorted((TOP / top).iterdir())),
    *(TOP / name for name in ("docs", "examples", "third_party", "run", "SConstruct")),
    *sorted(TOP.glob("*.md")),
]
_TEXTS = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None))
_CODE = re.compile(r"```.*?```|`[^`\n]*`|<[a-z][^>]*>", re.DOTALL)


def table(heading: str) -> list[list[str]]:
    """The rows below this heading of the glossary, each a list of cells."""
    section = GLOSSARY.read_text("utf-8").partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def prose_rules() -> dict[re.Pattern[str], str]:
    """A pattern for each row, and what to write instead. It also matches the allowed phrases, so
    that what is banned is not found inside one; only the group `banned` counts."""
    return {
        re.compile(rf"\b(?:{_any(allowed)}|(?P<banned>{_any(banned)}))\b", re.IGNORECASE): hint
        for banned, hint, allowed in table("In prose")
    }


def _any(cell: str) -> str:
    """A pattern for the phrases in backticks; one that matches nothing if there are none."""
    phrases = re.findall(r"`([^`]*)`", cell)
    return "|".join(re.escape(phrase).replace("X", r"[a-z]+") for phrase in phrases) or "(?!)"


NAMES = {row[0].strip("`"): row[1] for row in table("As names")}
PROSE = prose_rules()


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
        if token.type in _TEXTS:
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
    for pattern, hint in PROSE.items():
        for match in pattern.finditer(line):
            if match["banned"]:
                yield f"{path}:{number}: {match['banned']!r}: {hint}"


def files(area: Path) -> list[Path]:
    """The Python sources and Markdown files of an area."""
    if area.is_file():
        is_read = area.suffix in (".py", ".md") or area.name in ("run", "SConstruct")
        return [area] if is_read and area != Path(__file__) else []
    candidates = [*area.rglob("*.py"), *area.rglob("*.md"), *area.rglob("SCons*")]
    return sorted(path for path in candidates if path.is_file())


def test_the_glossary_lists_words() -> None:
    assert {"told", "made"} <= set(NAMES)
    assert len(PROSE) == len(table("In prose")) > 5


@pytest.mark.parametrize(
    ("line", "banned"),
    [
        ("the key is no digest", ["is no digest"]),
        ("there is no digest, and it is no longer one", []),
        ("Asked for it meanwhile", ["Asked", "meanwhile"]),
        ("untold", []),
    ],
)
def test_a_phrase_is_banned_unless_it_is_part_of_an_allowed_one(
    line: str, banned: list[str]
) -> None:
    messages = list(_in_prose(Path("page.md"), 1, line))
    assert [message.split("'")[1] for message in messages] == banned


@pytest.mark.parametrize("area", AREAS, ids=lambda area: str(area.relative_to(TOP)))
def test_only_plain_words_are_used(area: Path) -> None:
    banned = [violation for path in files(area) for violation in violations(path)]
    assert not banned, "\n".join(banned)
