"""`phibuild delta` as a user types it."""

from __future__ import annotations

from tests.conftest import Project


def test_make_and_apply(project: Project) -> None:
    old = project.write("old.bin", "a model " * 1000)
    new = project.write("new.bin", "a model " * 900 + "and more")
    ran = project.phibuild("delta", "make", old.name, new.name, "-o", "update")
    assert ran.status == 0
    assert ran.text.startswith("update: ")
    assert ran.text.endswith("% of new.bin\n")
    ran = project.phibuild("delta", "apply", old.name, "update", "-o", "result.bin")
    assert ran.text == "result.bin: 7,208 bytes, checked\n"
    assert (project.folder / "result.bin").read_bytes() == new.read_bytes()


def test_default_names(project: Project) -> None:
    project.write("old.bin", "a model " * 1000)
    new = project.write("out/new.bin", "a model " * 900)
    ran = project.phibuild("delta", "make", "old.bin", "out/new.bin")
    assert ran.text.startswith("out/new.bin.phidelta: ")
    ran = project.phibuild("delta", "apply", "old.bin", "out/new.bin.phidelta")
    assert ran.status == 2
    assert "[PHI703] out/new.bin already exists" in ran.text
    new.rename(project.folder / "kept")
    assert project.phibuild("delta", "apply", "old.bin", "out/new.bin.phidelta").status == 0
    assert new.read_bytes() == (project.folder / "kept").read_bytes()
    project.write("update", "x" * 200)
    ran = project.phibuild("delta", "apply", "old.bin", "update")
    assert "[PHI703] update does not end with .phidelta" in ran.text


def test_folders_and_windows(project: Project) -> None:
    project.write("old/a/one.txt", "one " * 5000)
    project.write("new/b/one.txt", "one " * 5000)
    ran = project.phibuild("delta", "make", "old", "new", "-o", "update", "--window", "4")
    assert ran.status == 0, ran.text
    ran = project.phibuild("delta", "apply", "old", "update", "-o", "result")
    assert ran.text == "result: 20,000 bytes, checked\n"
    assert [path.name for path in (project.folder / "result").iterdir()] == ["b"]
    assert project.phibuild("delta", "apply", "old", "update", "-o", "result").status == 0


def test_a_file_that_is_not_a_delta_is_one_clear_error(project: Project) -> None:
    project.write("old.bin", "old")
    ran = project.phibuild("delta", "apply", "old.bin", "SConstruct", "-o", "result.bin")
    assert ran.status == 2  # click: the file does not exist
    project.write("other", "x" * 200)
    ran = project.phibuild("delta", "apply", "old.bin", "other", "-o", "result.bin")
    assert ran.status == 2
    assert "[PHI703] the delta is damaged: it does not begin with PHIDELTA" in ran.text
    ran = project.phibuild("delta", "make", ".", "other", "-o", "delta")
    assert "[PHI703] . and other are not both files or both folders" in ran.text
