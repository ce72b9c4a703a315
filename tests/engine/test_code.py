"""A worker's code: which files it is shown, and the folder of the store that it runs from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phibuild.engine.building.realize import realize_step
from phibuild.engine.building.run import run_batch
from phibuild.engine.keys import keyed
from phibuild.engine.workers.code import Code, CodeReader
from phibuild.engine.workers.code_folder import code_folder
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action
from phibuild.model.errors import ActionError, PhiError, RecipeError, SourceError
from phibuild.registry import load_registry
from phibuild.store import Store

WORKER = """\
import phiworker
from toy.helper import text

phiworker.run(lambda job: job.output.write_text(text()))
"""
HELPER = "def text():\n    return 'first'\n"


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop.of(Store(tmp_path / "store"), load_registry())


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A plugin's package with a worker and a module."""
    folder = tmp_path / "plugins" / "toy"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import phibuild.api\n")
    (folder / "worker.py").write_text(WORKER)
    (folder / "helper.py").write_text(HELPER)
    return folder


def an_action(
    package: Path, *files: str, name: str = "toy", code_root: Path | None = None
) -> Action:
    worker_files = tuple(package / name for name in files)
    return Action(
        name, package / "worker.py", "host", worker_files=worker_files, code_root=code_root
    )


def code_of(package: Path, *files: str) -> Code:
    return CodeReader().read(an_action(package, *files))


def paths(code: Code) -> set[str]:
    """Those of the plugin's own files."""
    return {file.path for file in code.files} - {"phiworker.py", "toy/__init__.py"}


def output_of(shop: Workshop, action: Action) -> str:
    (entry,) = realize_step(shop, action, None, "x").tree.entries
    return shop.store.object_path(entry).read_text()


def test_a_worker_has_its_package_path_and_an_empty_package_around_it(package: Path) -> None:
    code = code_of(package)
    assert code.script == "toy/worker.py"
    assert [file.path for file in code.files] == [
        "phiworker.py",
        "toy/__init__.py",
        "toy/helper.py",
        "toy/worker.py",
    ]
    assert code.files[1].read() == b""


@pytest.mark.parametrize(
    "line",
    [
        "from toy.part.more import name",
        "from toy.part import more",
        "from toy.part import more as less",
        "from toy.part import (  # a comment\n    missing,\n    more,\n)",
        "import toy.part.more",
        "import json, toy.part.more as more",
        "def main(job):\n    from toy.part.more import name",
        "if True:\n\tfrom toy.part import more",
        "from .part import more",
        "from .part.more import name",
    ],
)
def test_a_module_of_the_package_is_shown_for_each_way_to_import_it(
    package: Path, line: str
) -> None:
    (package / "part").mkdir()
    (package / "part" / "__init__.py").write_text("raise RuntimeError\n")
    (package / "part" / "more.py").write_text("name = 1\n")
    (package / "helper.py").write_text(f"{line}\n")
    code = code_of(package)
    assert paths(code) == {
        "toy/worker.py",
        "toy/helper.py",
        "toy/part/__init__.py",
        "toy/part/more.py",
    }
    assert {file.path: file for file in code.files}["toy/part/__init__.py"].read() == b""


def test_modules_are_found_through_modules_and_once(package: Path) -> None:
    (package / "helper.py").write_text("from toy.one import a\nfrom . import two\n")
    (package / "one.py").write_text("from toy.two import b\n")
    (package / "two.py").write_text("from toy.one import a\nfrom ..toy import one\n")
    (package / "three.py").write_text("")
    expected = {"toy/worker.py", "toy/helper.py", "toy/one.py", "toy/two.py"}
    assert paths(code_of(package)) == expected


def test_modules_for_workers_are_shown_to_who_imports_them(package: Path) -> None:
    (package / "helper.py").write_text("import phitokenizer\n")
    assert "phitokenizer.py" in paths(code_of(package))
    assert "phitransformers.py" not in paths(code_of(package))


def test_files_and_folders_beside_a_worker_keep_their_paths(package: Path) -> None:
    (package / "native" / "deep").mkdir(parents=True)
    (package / "native" / "deep" / "x.c").write_text("int x;\n")
    (package / "native" / "__pycache__").mkdir()
    (package / "native" / "__pycache__" / "x.pyc").write_text("")
    (package / "table.txt").write_text("1\n")
    assert paths(code_of(package, "native", "table.txt")) >= {
        "toy/native/deep/x.c",
        "toy/table.txt",
    }
    assert not any("__pycache__" in path for path in paths(code_of(package, "native")))


def test_a_worker_outside_of_a_package_is_at_the_top(package: Path) -> None:
    (package / "__init__.py").unlink()
    code = code_of(package, "helper.py")
    assert (code.script, paths(code)) == ("worker.py", {"worker.py", "helper.py"})


def test_each_file_is_in_the_digest_and_no_folder_of_this_machine(package: Path) -> None:
    first = code_of(package)
    moved = package.parents[1] / "elsewhere"
    package.parent.rename(moved)
    assert code_of(moved / "toy").digest == first.digest
    (moved / "toy" / "helper.py").write_text(HELPER.replace("first", "other"))
    assert code_of(moved / "toy").digest != first.digest
    (moved / "toy" / "__init__.py").write_text("")
    (moved / "toy" / "helper.py").write_text(HELPER)
    assert code_of(moved / "toy").digest == first.digest


def test_the_protocol_is_in_the_digest(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = code_of(package)
    folder = package.parent / "offered"
    folder.mkdir()
    (folder / "phiworker.py").write_text("# another\n")
    monkeypatch.setattr("phibuild.engine.workers.code._FOR_WORKERS", folder)
    assert code_of(package).digest != first.digest


def test_two_files_of_one_path_are_refused(package: Path) -> None:
    for name in ("one", "two"):
        (package.parent / name).mkdir()
        (package.parent / name / "same.py").write_text("")
    with pytest.raises(RecipeError, match=r"same\.py") as refusal:
        CodeReader().read(an_action(package, "../one/same.py", "../two/same.py", code_root=package))
    assert refusal.value.code == "PHI202"


def test_a_worker_that_does_not_exist_is_one_clear_error(package: Path) -> None:
    (package / "worker.py").unlink()
    with pytest.raises(SourceError, match=r"worker\.py cannot be read") as refusal:
        code_of(package)
    assert refusal.value.code == "PHI101"


def test_a_worker_runs_from_exactly_its_code(shop: Workshop, package: Path) -> None:
    (package / "worker.py").write_text(
        "import json, sys\nfrom pathlib import Path\nimport phiworker\n"
        "import toy.helper\n"
        "def main(job):\n"
        "    root = Path(sys.path[0])\n"
        "    found = sorted(p.relative_to(root).as_posix() for p in root.rglob('*'))\n"
        "    job.output.write_text(json.dumps([found, sys.path[1:], str(root)]))\n"
        "phiworker.run(main)\n"
    )
    text = output_of(shop, an_action(package))
    assert '"phiworker.py", "toy", "toy/__init__.py", "toy/helper.py", "toy/worker.py"' in text
    assert "site-packages" not in text
    assert str(package) not in text
    assert str(shop.store.root / "code") in text


def test_a_module_that_the_import_does_not_name_does_not_exist_for_the_worker(
    shop: Workshop, package: Path
) -> None:
    """So it is an error that says where to declare it, rather than a missing fact."""
    (package / "worker.py").write_text(
        "from importlib import import_module\nimport phiworker\n"
        "text = import_module('toy.' + 'helper').text\n"
        "phiworker.run(lambda job: job.output.write_text(text()))\n"
    )
    with pytest.raises(ActionError, match=r"toy imports toy\.helper") as refusal:
        realize_step(shop, an_action(package), None, "x")
    assert refusal.value.code == "PHI408"
    assert "worker_files" in refusal.value.hint
    assert output_of(shop, an_action(package, "helper.py")) == "first"


def test_the_plugin_itself_does_not_exist_for_the_worker(shop: Workshop, package: Path) -> None:
    (package / "__init__.py").write_text("NAME = 1\n")
    (package / "worker.py").write_text("from toy import NAME\n")
    with pytest.raises(ActionError, match=r"toy imports toy\.NAME") as refusal:
        realize_step(shop, an_action(package), None, "x")
    assert refusal.value.code == "PHI408"


def add_an_optional_module(package: Path) -> None:
    (package / "fast.py").write_text("")


def add_a_worker_file(package: Path) -> None:
    (package / "data" / "deep").mkdir()
    (package / "data" / "deep" / "table.txt").write_text("1\n")


def edit(package: Path) -> None:
    (package / "helper.py").write_text(HELPER.replace("first", "other"))


def edit_under_a_kept_time(package: Path) -> None:
    before = (package / "helper.py").stat()
    edit(package)
    os.utime(package / "helper.py", ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [add_an_optional_module, add_a_worker_file, edit, edit_under_a_kept_time]
)
def test_what_an_earlier_process_read_is_read_again_after_a_change(
    shop: Workshop, package: Path, change: Callable[[Path], None]
) -> None:
    (package / "worker.py").write_text(
        "try:\n    from toy import fast\nexcept ImportError:\n    fast = None\n" + WORKER
    )
    (package / "data" / "sub").mkdir(parents=True)
    (package / "data" / "sub" / "table.txt").write_text("1\n")
    action = an_action(package, "data")
    time.sleep(0.05)  # what is younger is not remembered
    index = shop.store.index
    first = CodeReader(index).read(action)
    assert index.recall(package / "worker.py", "code") is not None
    assert CodeReader(index).read(action) == first == CodeReader().read(action)
    change(package)
    second = CodeReader(index).read(action)
    assert second == CodeReader().read(action)
    assert second.digest != first.digest


def test_a_module_that_changes_between_two_workers_is_not_remembered(
    shop: Workshop, package: Path
) -> None:
    (package / "other.py").write_text(WORKER)
    time.sleep(0.05)
    reader = CodeReader(shop.store.index)
    reader.read(an_action(package))
    edit(package)
    time.sleep(0.05)
    other = Action("other", package / "other.py", "host")
    reader.read(other)
    assert CodeReader(shop.store.index).read(other) == CodeReader().read(other)


def test_one_worker_in_two_actions_is_remembered_for_the_right_one(
    shop: Workshop, package: Path
) -> None:
    (package / "table.txt").write_text("1\n")
    time.sleep(0.05)
    for files in ([], ["table.txt"], []):
        code = CodeReader(shop.store.index).read(an_action(package, *files))
        assert code == code_of(package, *files)


def spoil(folder: Path) -> None:
    (folder / "toy" / "helper.py").chmod(0o644)
    (folder / "toy" / "helper.py").write_text(HELPER.replace("first", "wrong"))


def shorten(folder: Path) -> None:
    (folder / "phiworker.py").unlink()


def add(folder: Path) -> None:
    (folder / "json.py").write_text("raise RuntimeError\n")


def replace(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()
    folder.write_text("a file\n")


@pytest.mark.parametrize("damage", [spoil, shorten, add, replace])
def test_a_damaged_folder_is_written_again(
    shop: Workshop, package: Path, damage: Callable[[Path], None]
) -> None:
    assert output_of(shop, an_action(package)) == "first"
    (folder,) = (shop.store.root / "code").iterdir()
    damage(folder)
    assert output_of(shop, an_action(package, name="again")) == "first"
    assert [path.name for path in (shop.store.root / "code").iterdir()] == [folder.name]


def test_an_intact_folder_stays_and_has_the_time_of_its_last_use(
    shop: Workshop, package: Path
) -> None:
    code = code_of(package)
    folder = code_folder(shop.store, code)
    before = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    os.utime(folder, (0, 0))
    assert code_folder(shop.store, code) == folder
    assert folder.stat().st_mtime > 0
    after = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    assert [status.st_mtime_ns for status in after.values()] == [
        status.st_mtime_ns for status in before.values()
    ]
    assert {status.st_mode & 0o777 for status in after.values()} == {0o444}


def test_builds_at_once_make_one_folder(shop: Workshop, package: Path) -> None:
    code = code_of(package)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: code_folder(shop.store, code), range(16)))
    assert set(folders) == set((shop.store.root / "code").iterdir())
    assert len(set(folders)) == 1


def test_code_that_changed_since_its_digest_is_not_shown(shop: Workshop, package: Path) -> None:
    code = code_of(package)
    (package / "helper.py").write_text(HELPER.replace("first", "other"))
    with pytest.raises(SourceError, match=r"toy/helper\.py") as refusal:
        code_folder(shop.store, code)
    assert refusal.value.code == "PHI106"
    assert list((shop.store.root / "code").iterdir()) == []


def test_a_script_that_changes_after_the_key_is_not_recorded_under_it(
    shop: Workshop, package: Path
) -> None:
    action = an_action(package, "helper.py", code_root=package.parent)
    step = keyed(shop, action, None, {})
    (package / "helper.py").write_text(HELPER.replace("first", "other"))
    with pytest.raises(PhiError) as refusal:
        run_batch(shop, [step], None, tools={}, reported_as="x")
    assert refusal.value.code == "PHI106"
    assert shop.store.recall(step.key) is None


def test_an_edit_while_the_worker_runs_does_not_reach_it(shop: Workshop, package: Path) -> None:
    """What it imports late is what its key says."""
    helper = package / "helper.py"
    (package / "worker.py").write_text(
        "import phiworker\nfrom pathlib import Path\n"
        "def main(job):\n"
        f"    Path({str(helper)!r}).write_text({HELPER.replace('first', 'other')!r})\n"
        "    from toy.helper import text\n"
        "    job.output.write_text(text())\n"
        "phiworker.run(main)\n"
    )
    assert output_of(shop, an_action(package)) == "first"
    helper.write_text(HELPER)
    assert output_of(Workshop.of(shop.store, shop.registry), an_action(package)) == "first"
