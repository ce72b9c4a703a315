"""Programs of the machine: which are facts, how they answer, and when they are started."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from phibuild_gguf.llama_cpp.build import build

from phibuild.engine.workshop import Workshop
from phibuild.model.action import Program
from phibuild.model.errors import ToolchainError
from phibuild.registry import load_registry
from phibuild.store import Store
from phibuild.toolchain import program as programs
from phibuild.toolchain.compiler import compiler_program, find_compiler
from phibuild.toolchain.program import ask, path_of, starts_another

Write = Callable[..., Path]
GREETING = """\
#!/bin/sh
case "$LC_ALL:$LANG:$LANGUAGE" in
    C::C) echo "gcc version $VERSION" ;;
    *) echo "gcc-Version $VERSION" >&2 ;;
esac
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a script into the first folder of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def write(name: str, version: str = "1") -> Path:
        path = tmp_path / name
        path.write_text(GREETING.replace("$VERSION", version))
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def shop(tmp_path: Path) -> Callable[[], Workshop]:
    """Workshops of new processes that share a store."""
    return lambda: Workshop.of(Store(tmp_path / "store"), load_registry())


def test_a_program_answers_in_one_language(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that answers in the user's language would be another one, or none."""
    write("greeter")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    greeter = compiler_program("greeter", "")
    assert ask(greeter, path_of(greeter)) == "gcc version 1"


def test_both_compilers_are_facts_of_llama_cpp(
    write: Write, shop: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    def facts() -> dict[str, str]:
        return {fact.name: fact.value for fact in shop().toolchains.build_facts(build())}

    monkeypatch.setenv("CC", str(write("cc", "1")))
    monkeypatch.setenv("CXX", str(write("c++", "1")))
    before = facts()
    write("cc", "2")
    after = facts()
    assert before.pop("program.cc") == "gcc version 1"
    assert after.pop("program.cc") == "gcc version 2"
    assert before == after
    assert before["program.c++"] == "gcc version 1"
    assert not {name for name in before if "cmake" in name or "ninja" in name}


def test_a_compiler_that_is_not_a_wrapper_starts_once(
    shop: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Null builds start no process: they compare the file behind all links."""
    binary, link = tmp_path / "my-gcc-12", tmp_path / "my-cc"
    shutil.copy2(shutil.which("env") or "", binary)  # any that is not a script
    link.symlink_to(binary)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    started: list[Path] = []

    def counted(program: Program, path: Path) -> str:
        started.append(path)
        return ask(program, path)

    monkeypatch.setattr("phibuild.engine.workers.toolchains.ask", counted)
    compiler = Program("my-cc", ("--version",), ".", "")
    first = shop().toolchains.program(compiler)
    assert (shop().toolchains.program(compiler), len(started)) == (first, 1)
    binary.rename(tmp_path / "my-gcc-11")
    binary.symlink_to("my-gcc-11")
    shop().toolchains.program(compiler)
    binary.unlink()
    shutil.copy2(tmp_path / "my-gcc-11", binary)
    shop().toolchains.program(compiler)
    assert len(started) > 1


@pytest.mark.parametrize("kind", ["script", "ccache"])
def test_a_wrapper_starts_each_time(
    write: Write, shop: Callable[[], Workshop], kind: str, tmp_path: Path
) -> None:
    """Its file stays when the compiler that it starts is another."""
    if kind == "script":
        wrapper = write("wrapper")
    else:
        (tmp_path / "ccache").write_bytes(b"\x7fELF")
        (tmp_path / "ccache").chmod(0o755)
        wrapper = tmp_path / "g++"
        wrapper.symlink_to("ccache")
    assert starts_another(wrapper)
    if kind == "script":
        before = shop().toolchains.program(compiler_program("wrapper", "")).identity
        wrapper.write_text(wrapper.read_text().replace("version 1", "version 2"))
        assert shop().toolchains.program(compiler_program("wrapper", "")).identity != before


def test_a_compiler_with_options_in_its_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was ignored silently, and another compiler was used."""
    monkeypatch.setenv("CC", "gcc -m32")
    with pytest.raises(ToolchainError, match="CC=gcc -m32 was not found") as raised:
        find_compiler()
    assert raised.value.code == "PHI601"


def test_a_program_that_comes_with_python_is_beside_it(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beside = tmp_path / "venv" / "bin"
    beside.mkdir(parents=True)
    monkeypatch.setattr(programs.sys, "executable", str(beside / "python"))
    ninja = Program("ninja", (), "", "install it", with_python=True)
    assert path_of(ninja._replace(name="cc")) == Path(shutil.which("cc") or "")
    elsewhere = write("ninja")
    assert path_of(ninja) == elsewhere
    shutil.copy2(elsewhere, beside / "ninja")
    assert path_of(ninja) == beside / "ninja"
    assert path_of(ninja._replace(with_python=False)) == elsewhere
