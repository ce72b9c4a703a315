"""The documents say what is there: links lead somewhere, names exist, commands run."""

from __future__ import annotations

import ast
import functools
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from phibuild import hookspecs
from phibuild.cli.main import cli
from phibuild.model.action import Action
from phibuild.model.errors import CODES
from phibuild.offers import Backend
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends import cases
from tests.conftest import Project

ROOT = Path(__file__).parent.parent
SOURCES = ("phibuild", "plugins", "third_party", "examples", "tests", "run", ".ci")
WRITTEN = {"build", "dist", "out", "__pycache__"}
"""Folders that builds and Python write."""

FOREIGN = {
    *("VariantDir", "FindInstalledFiles"),  # SCons
    *("AddCustomTarget", "DefineGroup"),  # PlatformIO, RT-Thread
    *("COMPONENT_LIB", "idf_component_register"),  # ESP-IDF
    "CMAKE_PREFIX_PATH",
    "convert_hf_to_gguf.py",  # llama.cpp
    "Int8Safetensors",  # examples/third_party_plugin
    "PhiBuild",  # rejected in decision 0016
}
"""Names in documents that are not in the sources or not in phibuild."""


@functools.cache
def repository() -> list[str]:
    """The project's files, as paths from its top; what builds and tools write is left out."""
    paths = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in WRITTEN and name[:1] != "."]
        paths += [Path(folder, name).relative_to(ROOT).as_posix() for name in files]
    return [*paths, ".ci/run"]


def pages() -> list[Path]:
    """The documents; the changelog names what is gone."""
    names = [name for name in repository() if name.endswith(".md") and name != "CHANGELOG.md"]
    return [ROOT / name for name in sorted(names)]


@functools.cache
def words() -> set[str]:
    """Every word in the sources and in the names of files."""
    texts = [
        (ROOT / name).read_text("utf-8", errors="replace")
        for name in repository()
        if name.startswith(SOURCES) and not name.endswith((".md", ".lock", Path(__file__).name))
    ]
    texts += repository()
    return {word for text in texts for word in re.findall(r"\w+", text)}


@functools.cache
def members() -> dict[str, set[str]]:
    """Fields and methods by class, of all classes of one name together."""
    classes: dict[str, set[str]] = {}
    for name in repository():
        if name.startswith(("phibuild/", "plugins/")) and name.endswith(".py"):
            for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    classes.setdefault(node.name, set()).update(_members(node))
    return classes


def _members(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        match item:
            case ast.FunctionDef(name) | ast.AnnAssign(target=ast.Name(name)):
                yield name
            case ast.Assign(targets=[ast.Name(name)]):
                yield name


def spans(page: Path) -> list[str]:
    """The texts in single backticks."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def blocks(page: Path, language: str = r"\w*") -> list[str]:
    """The fenced blocks of a language, by default of any."""
    text = page.read_text("utf-8")
    return re.findall(rf"^```(?:{language})\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def section(page: Path, heading: str) -> str:
    """The text below a heading, up to the next one."""
    _, _, rest = page.read_text("utf-8").partition(f"# {heading}\n")
    assert rest, f"{page.relative_to(ROOT)} has no section {heading!r}"
    return re.split(r"^#", rest, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the table in a text, without its head."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    checks = (links, codes, files, names, class_members, builders, imports, commands)
    problems = [problem for check in checks for problem in check(page)]
    assert not problems, "\n".join([f"{page.relative_to(ROOT)} names", *problems])


def links(page: Path) -> Iterator[str]:
    """Links within the project that lead nowhere."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not re.match(r"https?:", target):
            place, _, anchor = target.partition("#")
            path = page.parent / place if place else page
            if not path.exists() or (anchor and anchor not in anchors(path)):
                yield f"the link {target}, which leads nowhere"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def codes(page: Path) -> Iterator[str]:
    for code in set(re.findall(r"PHI\d{3}", page.read_text("utf-8"))) - set(CODES):
        yield f"the error code {code}, which does not exist"


def files(page: Path) -> Iterator[str]:
    """Files of the project: named from a top folder on, or a Python file from any folder on."""
    tops = "|".join(map(re.escape, ("phibuild", "plugins", "tests", "docs", "third_party", ".ci")))
    for word in " ".join(spans(page)).split():
        if re.fullmatch(rf"(?:{tops})/[\w./-]*", word):
            is_there = any((folder / word).exists() for folder in (ROOT, page.parent))
        elif re.fullmatch(r"[\w/-]+\.py", word):
            is_there = any(f"/{name}".endswith(f"/{word}") for name in repository())
        else:
            continue
        if not is_there and word not in FOREIGN:
            yield f"the file `{word}`, which does not exist"


def names(page: Path) -> Iterator[str]:
    """Names of code: with an underscore or a second capital, environment variables included. Pages
    of plugins, examples and llama.cpp also name what belongs to toolkits."""
    if page.relative_to(ROOT).parts[0] in ("plugins", "examples", "third_party"):
        return
    pattern = r"\b(?:[A-Za-z]+\d*_\w+|[A-Z][a-z]+[A-Z]\w+)\b"
    mentioned = {
        name for span in spans(page) for name in re.findall(pattern, span.replace("-D", ""))
    }
    for name in sorted(mentioned - words() - FOREIGN):
        yield f"`{name}`, which is not in the sources (names of other programs go to FOREIGN)"


def class_members(page: Path) -> Iterator[str]:
    for span in spans(page):
        match = re.match(r"([A-Z]\w+)\.(\w+)(?!\w|\.)", span)
        if match and match[1] in members() and match[2] not in members()[match[1]]:
            yield f"`{match[0]}`, but {match[1]} has no such member"


def builders(page: Path) -> Iterator[str]:
    for name in sorted(set(re.findall(r"\benv\.([A-Z]\w+)", page.read_text("utf-8")))):
        if not hasattr(environment(), name) and name not in FOREIGN:
            yield f"env.{name}, which is not a builder"


@functools.cache
def environment() -> object:
    """What SCons and phibuild offer to an SConstruct."""
    from SCons.Environment import Environment

    from phibuild.scons import phibuild

    return Environment(tools=["default", phibuild])


def imports(page: Path) -> Iterator[str]:
    for block in blocks(page, "python"):
        for module, listed in re.findall(
            r"^from (phibuild\.\S+) import (.+)$", block, re.MULTILINE
        ):
            for name in listed.split(", "):
                if not hasattr(importlib.import_module(module), name):
                    yield f"{name} of {module}, which cannot be imported"


def commands(page: Path) -> Iterator[str]:
    """Each `phibuild` command with its options, and each module of `python -m`."""
    text = "\n".join([*spans(page), *blocks(page)])
    for line in re.findall(r"^(?:\$ |\./run )?phibuild +([a-z-].*)$", text, re.MULTILINE):
        yield from command_problems(line.split("#")[0].split())
    for module in re.findall(r"python3? -m ((?:phibuild|tests)[\w.]*)", text):
        place = ROOT / module.replace(".", "/")
        if not place.with_suffix(".py").is_file() and not (place / "__main__.py").is_file():
            yield f"python -m {module}, which does not exist"


def command_problems(arguments: list[str]) -> Iterator[str]:
    """Subcommands and options in a command line of `phibuild` that do not exist."""
    command: click.Command = cli
    path = "phibuild"
    for word in arguments:
        if isinstance(command, click.Group) and not word.startswith("-"):
            subcommand = command.get_command(click.Context(command), word)
            if subcommand is None:
                yield f"{path} {word}, which is not a command"
                return
            command, path = subcommand, f"{path} {word}"
        elif re.fullmatch(r"--?[a-z][a-z-]*", word) and word not in options(command):
            yield f"{path} {word}, which is not an option"


def options(command: click.Command) -> set[str]:
    return {name for option in command.params for name in option.opts}


def test_the_page_on_backends_has_every_field() -> None:
    page = ROOT / "docs" / "add-a-backend.md"
    described = {
        heading: {name for row in rows(section(page, heading)) for name in spans_of(row[0])}
        for heading in ("The fields of `Backend`", "The fields of `Action`", "The worker")
    }
    hooks = {name for row in rows(section(page, "The hooks")) for name in spans_of(row[0])}
    job = {name for name in members()["Job"] if not name.startswith("_")}
    assert described["The fields of `Backend`"] == set(Backend._fields)
    assert described["The fields of `Action`"] == set(Action._fields)
    assert described["The worker"] == job
    assert hooks == {name for name in vars(hookspecs) if name.startswith("phibuild_")}


def spans_of(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_edits_is_what_tests_assert() -> None:
    page = ROOT / "docs" / "how-it-works.md"
    table = {row[0]: row[1:] for row in rows(section(page, "An edit and what it costs"))}
    expected = {
        "first build": cases.CONVERTING,
        "chat template": cases.TEMPLATE,
        "one tensor": cases.TENSOR,
        "another precision": cases.RECIPE,
    }
    for edit, actions in expected.items():
        assert [spans_of(cell) for cell in table[edit]] == list(actions.values()), edit


@pytest.mark.parametrize(
    ("title", "folder"), [("Rooms", "phibuild"), ("Floors of the engine", "phibuild/engine")]
)
def test_the_map_has_every_room_and_floor(title: str, folder: str) -> None:
    paths = (ROOT / folder).iterdir()
    rooms = {path.stem for path in paths if not path.name.startswith("_")}
    table = rows(section(ROOT / "CONTRIBUTING.md", title))
    assert {name for row in table for name in spans_of(row[0])} == rooms


NOT_RUN = {
    "scons": "builds",
    "scons dist/….gguf": "builds",
    "scons -j2": "builds",
    "phibuild show ARTIFACT": "there is none",
    "phibuild toolchain install": "downloads and compiles",
}
"""Commands of README's table that need a toolchain."""


def test_the_commands_of_the_readme_run(project: Project) -> None:
    """In a project with README's SConstruct and a tiny checkpoint, without any toolchain."""
    readme = ROOT / "README.md"
    write_checkpoint(project.folder / "models" / "Phi-3.5-mini-instruct", FAMILIES["phi-3"])
    (sconstruct,) = (block for block in blocks(readme, "python") if "# SConstruct" in block)
    project.write("SConstruct", sconstruct)
    commands = [
        command for row in rows(section(readme, "Commands")) for command in spans_of(row[0])
    ]
    assert set(NOT_RUN) <= set(commands)
    fill = {"TARGET": "dist/phi-3.5-mini-q4_k_m.gguf", "MODEL": "models/Phi-3.5-mini-instruct"}
    for command in commands:
        if command not in NOT_RUN:
            program, *arguments = (fill.get(word, word) for word in command.split())
            ran = {"scons": project.scons, "phibuild": project.phibuild}[program](*arguments)
            may_fail = command == "phibuild doctor"  # on a machine without a compiler
            assert ran.status == 0 or may_fail, f"{command}: {ran.text}"
            assert "Traceback" not in ran.text, command
