"""`env.Artifact` shows its worker the script and the declared modules, and Python's own library."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import Project

MAKE = """\
import phiworker
import helper

phiworker.run(lambda job: job.output.write_text(helper.text()))
"""
BUILD = 'a = env.Artifact("out.txt", worker="make.py", modules={modules})\n'
NOTHING = "scons: `.' is up to date.\n"


def helper(text: str) -> str:
    return f"def text():\n    return {text!r}\n"


@pytest.fixture
def helped(project: Project) -> Project:
    """A project with a worker, and a module beside it that is declared."""
    project.write("make.py", MAKE)
    project.write("helper.py", helper("one"))
    project.sconstruct(BUILD.format(modules="'helper.py'"))
    return project


def built(project: Project, *arguments: str, **environment: str) -> list[str]:
    """The actions of a build that succeeds."""
    ran = project.scons(*arguments, **environment)
    assert ran.status == 0, ran.text
    return ran.actions


def text_of(project: Project) -> str:
    return (project.folder / "out.txt").read_text()


def test_an_edit_of_a_module_rebuilds_and_its_revert_is_recalled(helped: Project) -> None:
    assert built(helped) == ["make"]
    helped.write("helper.py", helper("other"))
    assert (built(helped), text_of(helped)) == (["make"], "other")
    helped.write("helper.py", helper("one"))
    assert (built(helped), text_of(helped)) == ([], "one")
    assert helped.scons().text == NOTHING


def test_explain_names_the_changed_file(helped: Project) -> None:
    built(helped)
    helped.write("helper.py", helper("other"))
    ran = helped.phibuild("explain", "out.txt")
    assert "worker changed: helper.py " in ran.text, ran.text


def test_a_script_that_changes_rebuilds(helped: Project) -> None:
    built(helped)
    helped.write("make.py", MAKE.replace("helper.text()", "helper.text() * 2"))
    assert (built(helped), text_of(helped)) == (["make"], "oneone")


def test_a_module_that_is_not_declared_does_not_exist_for_the_worker(helped: Project) -> None:
    helped.sconstruct('env.Artifact("out.txt", worker="make.py")\n')
    ran = helped.scons()
    assert ran.status == 2
    assert "[PHI408] make imports helper, which its worker make.py is not shown" in ran.text
    assert "hint: declare a module of your own in modules=[...] of env.Artifact" in ran.text
    assert "Traceback" not in ran.text


def test_a_folder_of_modules_is_shown_with_all_that_is_in_it(helped: Project) -> None:
    helped.write("make.py", MAKE.replace("import helper", "from pkg.deep import helper"))
    helped.write("pkg/__init__.py", "NAME = 'pkg'\n")
    helped.write("pkg/words.txt", "from a file")
    helped.write(
        "pkg/deep/helper.py",
        "from pathlib import Path\nfrom pkg import NAME\n"
        "def text():\n"
        "    return NAME + ' ' + Path(__file__).parents[1].joinpath('words.txt').read_text()\n",
    )
    helped.sconstruct(BUILD.format(modules="['pkg/']"))
    assert (built(helped), text_of(helped)) == (["make"], "pkg from a file")
    helped.write("pkg/words.txt", "edited")
    assert (built(helped), text_of(helped)) == (["make"], "pkg edited")
    helped.write("pkg/new.py", "")
    assert built(helped) == ["make"]
    assert helped.scons().text == NOTHING


def test_modules_elsewhere_have_their_own_names(helped: Project) -> None:
    helped.write("make.py", MAKE.replace("import helper", "import one\nfrom pkg import helper"))
    helped.write("lib/one.py", "")
    helped.write("lib/pkg/helper.py", helper("from elsewhere"))
    helped.write("model/make.py", (helped.folder / "make.py").read_text())
    modules = '[["lib/one.py"], Dir("lib/pkg")]'
    helped.sconstruct(BUILD.format(modules=modules).replace('"make.py"', '"model/make.py"'))
    assert (built(helped), text_of(helped)) == (["make"], "from elsewhere")


def test_another_rule_may_write_a_module_and_the_worker(helped: Project) -> None:
    helped.write("text.txt", "one")
    helped.sconstruct(
        "def write(target, source, env):\n"
        "    text = source[0].get_text_contents()\n"
        "    with open(str(target[0]), 'w') as file:\n"
        "        file.write(f'def text():\\n    return {text!r}\\n')\n"
        'made = env.Command("gen/helper.py", "text.txt", write)\n'
        'script = env.Command("gen/make.py", "make.py", Copy("$TARGET", "$SOURCE"))\n'
        'env.Artifact("out.txt", worker=script, modules=made)\n'
    )
    assert (built(helped), text_of(helped)) == (["make"], "one")
    for text in ("two", "three"):
        helped.write("text.txt", text)
        assert (built(helped), text_of(helped)) == (["make"], text)
        assert helped.scons().text == NOTHING
    helped.write("text.txt", "two")
    assert (built(helped), text_of(helped)) == ([], "two")


def test_an_artifact_may_be_a_module(helped: Project) -> None:
    helped.write(
        "write.py",
        "import phiworker\n"
        "phiworker.run(lambda job: job.output.write_text(job.inputs['text'].read_text()))\n",
    )
    helped.write("make.py", MAKE.replace("import helper", "from gen import helper"))
    helped.write("text.txt", helper("of an artifact"))
    helped.sconstruct(
        'm = env.Artifact("gen/helper.py", worker="write.py", inputs={"text": "text.txt"})\n'
        + BUILD.format(modules="m")
    )
    assert built(helped) == ["write", "make"]
    assert text_of(helped) == "of an artifact"
    helped.write("text.txt", helper("of another"))
    assert built(helped) == ["write", "make"]
    assert text_of(helped) == "of another"
    assert helped.scons().text == NOTHING


def test_a_module_is_no_place_for_a_target(helped: Project) -> None:
    helped.sconstruct(BUILD.format(modules="'helper.py'").replace('"out.txt"', '"helper.py"'))
    ran = helped.scons()
    assert ran.status == 2
    assert "[PHI205]" in ran.text
    assert "the module helper.py" in ran.text


def test_a_module_that_is_missing_is_one_clear_error(helped: Project) -> None:
    helped.sconstruct(BUILD.format(modules="'helpre.py'"))
    ran = helped.scons()
    assert ran.status == 2
    assert "helpre.py" in ran.text
    assert "Traceback" not in ran.text


def test_a_depfile_lists_code(helped: Project) -> None:
    ran = helped.phibuild("build", "--depfile", "out.d")
    assert ran.status == 0, ran.text
    listed = (helped.folder / "out.d").read_text()
    for name in ("make.py", "helper.py", "phiworker.py"):
        assert f"/{name}:" in listed


SHOW = """\
import json, os, sys
import phiworker


def found(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def main(job):
    names = {names}
    state = {{
        "found": [name for name in names if found(name)],
        "path": [p for p in sys.path if "/code/" not in p],
        "flags": [bool(getattr(sys.flags, n)) for n in ("optimize", "inspect", "verbose")],
        "loaded": [n for n in ("sitecustomize", "usercustomize") if n in sys.modules],
    }}
    job.output.write_text(json.dumps(state))


phiworker.run(main)
"""
OUTSIDE = ("click", "SCons", "pluggy", "numpy", "phibuild", "beside", "mine", "_distutils_hack")


@pytest.fixture
def hostile(project: Project, tmp_path: Path) -> dict[str, str]:
    """An environment, a home and folders full of what must not reach a worker."""
    mark = tmp_path / "reached"
    leave = f"open({str(mark)!r}, 'a').write('x')\n"
    home, path = tmp_path / "home", tmp_path / "path"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    user = home / ".local" / "lib" / version / "site-packages"
    for folder in (user, path):
        folder.mkdir(parents=True)
        for name in ("sitecustomize", "usercustomize", "mine", "json"):
            (folder / f"{name}.py").write_text(leave)
    (user / "mine.pth").write_text(f"import sys; {leave}")
    (path / "startup.py").write_text(leave)
    project.write("beside.py", leave)
    return {
        "HOME": str(home),
        "PYTHONPATH": str(path),
        "PYTHONHOME": str(path),
        "PYTHONUSERBASE": str(home / ".local"),
        "PYTHONSTARTUP": str(path / "startup.py"),
        "PYTHONOPTIMIZE": "2",
        "PYTHONVERBOSE": "1",
        "PYTHONINSPECT": "1",
        "PYTHONBREAKPOINT": "mine.breakpoint",
        "PYTHONWARNINGS": "error",
        "PYTHONHASHSEED": "7",
    }


@pytest.mark.parametrize("toolchain", ["host", "phibuild"])
def test_a_worker_sees_its_code_and_its_toolchain_alone(
    project: Project, hostile: dict[str, str], tmp_path: Path, toolchain: str
) -> None:
    """The SConstruct sets what would stop SCons itself, if it were there from the start."""
    project.write("show.py", SHOW.format(names=OUTSIDE))
    project.sconstruct(
        f"import os\nos.environ.update({hostile})\n"
        f'env.Artifact("out.txt", worker="show.py", toolchain={toolchain!r})\n'
    )
    assert built(project) == ["show"]
    assert not (tmp_path / "reached").exists()
    state = json.loads(text_of(project))
    assert state["flags"] == [False, False, False]
    assert "usercustomize" not in state["loaded"]
    assert str(project.folder) not in state["path"]
    if toolchain == "host":
        assert (state["found"], state["loaded"]) == ([], [])
        assert not any("-packages" in place for place in state["path"])
    else:
        assert set(state["found"]) >= {"click", "SCons", "numpy", "phibuild"}
        assert not {"beside", "mine"}.intersection(state["found"])


def test_the_toolchain_phibuild_has_facts(project: Project) -> None:
    project.write("show.py", SHOW.format(names=OUTSIDE))
    project.sconstruct('env.Artifact("out.txt", worker="show.py", toolchain="phibuild")\n')
    built(project)
    (result,) = Path(project.environment["PHIBUILD_STORE"], "results").iterdir()
    names = {name for name, _ in json.loads(result.read_text())["facts"]}
    assert {
        "toolchain.phibuild",
        "toolchain.phibuild.python",
        "toolchain.phibuild.numpy",
        "toolchain.phibuild.click",
    } <= names
    assert project.scons().text == NOTHING


def test_a_package_of_no_toolchain_is_named(project: Project) -> None:
    project.write("show.py", "import numpy\n")
    project.sconstruct('env.Artifact("out.txt", worker="show.py")\n')
    ran = project.scons()
    assert ran.status == 2
    assert "[PHI408] show imports numpy" in ran.text
    assert 'a package needs a toolchain: "host" has none' in ran.text
