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
    ran = project.phibuild("delta", "apply", old.name, "update", "-o", "made.bin")
    assert ran.text == "made.bin: 7,208 bytes, as they should be\n"
    assert (project.folder / "made.bin").read_bytes() == new.read_bytes()


def test_names_that_are_not_given(project: Project) -> None:
    project.write("old.bin", "a model " * 1000)
    new = project.write("out/new.bin", "a model " * 900)
    ran = project.phibuild("delta", "make", "old.bin", "out/new.bin")
    assert ran.text.startswith("out/new.bin.phidelta: ")
    ran = project.phibuild("delta", "apply", "old.bin", "out/new.bin.phidelta")
    assert ran.status == 2
    assert "[PHI703] out/new.bin is there already" in ran.text
    new.rename(project.folder / "kept")
    assert project.phibuild("delta", "apply", "old.bin", "out/new.bin.phidelta").status == 0
    assert new.read_bytes() == (project.folder / "kept").read_bytes()
    project.write("update", "x" * 200)
    ran = project.phibuild("delta", "apply", "old.bin", "update")
    assert "[PHI703] update does not tell what it makes" in ran.text


def test_folders_and_windows(project: Project) -> None:
    project.write("old/a/one.txt", "one " * 5000)
    project.write("new/b/one.txt", "one " * 5000)
    ran = project.phibuild("delta", "make", "old", "new", "-o", "update", "--window", "4")
    assert ran.status == 0, ran.text
    ran = project.phibuild("delta", "apply", "old", "update", "-o", "made")
    assert ran.text == "made: 20,000 bytes, as they should be\n"
    assert [path.name for path in (project.folder / "made").iterdir()] == ["b"]
    assert project.phibuild("delta", "apply", "old", "update", "-o", "made").status == 0


def test_what_is_no_delta_is_one_clear_error(project: Project) -> None:
    project.write("old.bin", "old")
    ran = project.phibuild("delta", "apply", "old.bin", "SConstruct", "-o", "made.bin")
    assert ran.status == 2  # click: the file is not there
    project.write("other", "x" * 200)
    ran = project.phibuild("delta", "apply", "old.bin", "other", "-o", "made.bin")
    assert ran.status == 2
    assert "[PHI703] the delta is damaged: it does not begin with PHIDELTA" in ran.text
    ran = project.phibuild("delta", "make", ".", "other", "-o", "delta")
    assert "[PHI703] . and other are not both files or both folders" in ran.text
