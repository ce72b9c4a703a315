"""SCons' `Install`, `InstallAs` and `Zip` with what the builders return, and other rules of SCons
that take it as a target or a source."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from tests.conftest import BUILD, Project

FILE = """\
import phiworker
phiworker.run(lambda job: job.output.write_text(job.inputs["text"].read_text() * 2))
"""
BOTH = BUILD + 'f = env.Artifact("dist/one.txt", worker="file.py", inputs={"text": "in.txt"})\n'
FOLDER = {"copy.txt": "hello hello ", "sub/more.txt": "more"}


@pytest.fixture
def both(copying: Project) -> Project:
    """A project with two artifacts, a folder `a` and a file `f`."""
    copying.write("file.py", FILE)
    copying.sconstruct(BOTH)
    return copying


def files(folder: Path) -> dict[str, str]:
    """The files in a folder, without manifests and what SCons remembers."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".phi.json", ".dblite"))
    }


def is_up_to_date(project: Project, *arguments: str) -> bool:
    ran = project.scons(*arguments)
    return ran.status == 0 and all(
        line.endswith("is up to date.") for line in ran.text.splitlines()
    )


INSTALLS = {
    "a file": ('env.Install("out", f)', {"one.txt": "hello hello "}),
    "a folder": ('env.Install("out", a)', {f"copy/{name}": text for name, text in FOLDER.items()}),
    "by path": ('env.Install("out", "dist/one.txt")', {"one.txt": "hello hello "}),
    "by node": ('env.Install(Dir("out"), File("dist/one.txt"))', {"one.txt": "hello hello "}),
    "by keyword": ('env.Install(dir="out", source=[f])', {"one.txt": "hello hello "}),
    "beside others": (
        'env.Install("out", [f, "in.txt"])',
        {"one.txt": "hello hello ", "in.txt": "hello "},
    ),
    "under another name": ('env.InstallAs("out/x", f)', {"x": "hello hello "}),
    "a folder under another name": (
        'env.InstallAs(["out/x y", "out/in"], [a, "in.txt"])',
        {**{f"x y/{name}": text for name, text in FOLDER.items()}, "in": "hello "},
    ),
    "by the global function": ('Install("out", f)', {"one.txt": "hello hello "}),
    "what was installed": (
        'env.Install("out", env.Install("dist/x", f))',
        {"one.txt": "hello " * 2},
    ),
    "in a clone": ('env.Clone(tools=["install"]).Install("out", f)', {"one.txt": "hello hello "}),
}


@pytest.mark.parametrize(("line", "installed"), INSTALLS.values(), ids=INSTALLS)
def test_artifacts_are_installed_once_and_cleaned(
    both: Project, line: str, installed: dict[str, str]
) -> None:
    before = files(both.folder)
    both.sconstruct(f"{BOTH}{line}\n")
    before["SConstruct"] = (both.folder / "SConstruct").read_text()
    ran = both.scons()
    assert ran.status == 0, ran.text
    assert files(both.folder / "out") == installed
    assert is_up_to_date(both)
    assert both.scons("-c").status == 0
    assert files(both.folder) == before


@pytest.mark.parametrize("name", ["a file", "a folder"])
def test_what_is_installed_follows_the_artifacts_bytes(both: Project, name: str) -> None:
    line, _ = INSTALLS[name]
    both.sconstruct(f"{BOTH}Default({line})\n")
    both.scons()
    both.write("in.txt", "bye ")
    assert both.scons().status == 0
    assert "bye bye " in files(both.folder / "out").values()
    assert is_up_to_date(both)


def test_a_typed_path_installs_what_it_needs_and_no_more(both: Project) -> None:
    both.sconstruct(BOTH + 'env.Alias("install", env.Install("out", f))\nenv.Install("o2", a)\n')
    ran = both.scons("install")
    assert ran.names("built") == ["dist/one.txt", "out/one.txt"]
    assert both.scons("o2").names("built") == ["dist/copy", "o2/copy"]


def test_an_installed_file_is_writable_and_apart_from_the_artifact(both: Project) -> None:
    both.sconstruct(BOTH + 'env.Install("out", f)\n')
    both.scons()
    installed = both.folder / "out" / "one.txt"
    installed.chmod(stat.S_IRUSR | stat.S_IWUSR)
    installed.unlink()
    assert both.scons().names("recalled") == ["out/one.txt"]
    assert installed.read_text() == "hello hello "


def test_an_installation_goes_into_the_sandbox(both: Project) -> None:
    both.sconstruct(BOTH + 'env.Alias("install", env.Install("/opt/x", [f, "in.txt"]))\n')
    assert both.scons("--install-sandbox=root", "install").status == 0
    assert files(both.folder / "root") == {
        "opt/x/one.txt": "hello hello ",
        "opt/x/in.txt": "hello ",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('env.Install("in.txt", f)', "Install needs a folder, and in.txt is a file"),
        ('env.InstallAs(["x"], [f, a])', "InstallAs has 1 targets and 2 sources"),
        ('env.Install("dist", f)', "two targets have the path dist/one.txt"),
        ("env.Zip([f, a])", "an archive of artifacts needs a name"),
    ],
)
def test_what_cannot_be_installed_is_reported_when_the_sconstruct_is_read(
    both: Project, line: str, message: str
) -> None:
    both.sconstruct(f"{BOTH}{line}\n")
    ran = both.scons()
    assert ran.status == 2
    assert f"[PHI205] {message}" in ran.text
    assert "hint: " in ran.text
    assert "SConstruct, line 6" in ran.text
    assert ran.actions == []


@pytest.mark.parametrize("tools", ["phibuild", '"zip", phibuild', 'phibuild, "zip"'])
def test_an_archive_holds_the_artifacts_files(both: Project, tools: str) -> None:
    environment = f"env = Environment(tools=[{tools}])\n"
    both.sconstruct(environment + BOTH + 'env.Zip("x", [a, f, "in.txt"])\n')
    assert both.scons().status == 0
    assert names_in(both.folder / "x.zip") == {
        "dist/copy/copy.txt": "hello hello ",
        "dist/copy/sub/more.txt": "more",
        "dist/one.txt": "hello hello ",
        "in.txt": "hello ",
    }
    assert is_up_to_date(both)
    both.write("in.txt", "bye ")
    assert both.scons().status == 0
    assert names_in(both.folder / "x.zip")["dist/one.txt"] == "bye bye "
    assert is_up_to_date(both)
    both.scons("-c")
    assert not (both.folder / "x.zip").exists()


def names_in(archive: Path) -> dict[str, str]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def test_an_archive_obeys_the_variables_of_the_tool(both: Project) -> None:
    both.sconstruct(BOTH + 'env.Zip("x.zip", a, ZIPROOT="dist/copy", ZIPCOMPRESSION=0)\n')
    both.scons()
    with zipfile.ZipFile(both.folder / "x.zip") as archive:
        assert sorted(archive.namelist()) == ["copy.txt", "sub/more.txt"]
        assert archive.getinfo("copy.txt").compress_type == zipfile.ZIP_STORED
    both.sconstruct(BOTH + 'env.Zip("x.zip", a, ZIPCOM="echo $SOURCES > $TARGET")\n')
    assert both.scons().status == 0


def test_what_is_not_an_artifact_is_installed_and_archived_by_scons(both: Project) -> None:
    both.sconstruct(BOTH + 'env.Install("out", "in.txt")\nenv.Zip("x.zip", "in.txt")\n')
    ran = both.scons("out", "x.zip")
    assert ran.status == 0
    assert 'Install file: "in.txt" as "out/in.txt"' in ran.text
    assert names_in(both.folder / "x.zip") == {"in.txt": "hello "}
    assert ran.actions == []


@pytest.mark.parametrize(
    ("lines", "output"),
    [
        ('env.Command("c", f, Copy("$TARGET", "$SOURCE"))', "c"),
        ('env.Command("c/x", a, Copy("$TARGET", "$SOURCE"))', "c/x/copy.txt"),
        ('c = env.Command("c", "in.txt", "cat dist/one.txt > $TARGET")\nenv.Depends(c, f)', "c"),
        ('c = env.Command("c", "in.txt", "cat dist/one.txt > $TARGET")\nenv.Requires(c, f)', "c"),
        ('env.Alias("all", [a, f])\nDefault("all")\nprint(str(f[0]))', "dist/one.txt"),
        ("env.Default(f)\nenv.Precious(f)\nenv.NoClean(f)", "dist/one.txt"),
        ('Default(f)\nenv.AddPostAction(f, Copy("c", "in.txt"))', "c"),
        (
            'import os\ne = Environment(tools=["tar", phibuild], ENV=os.environ)\ne.Tar("c", f)',
            "c.tar",
        ),
    ],
)
def test_other_rules_of_scons_take_an_artifact(both: Project, lines: str, output: str) -> None:
    both.sconstruct(f"{BOTH}{lines}\n")
    ran = both.scons()
    assert ran.status == 0, ran.text
    assert (both.folder / output).exists()
