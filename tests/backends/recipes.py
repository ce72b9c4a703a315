"""Builds SConstruct lines or expects their refusal, and shows their artifacts."""

from __future__ import annotations

import re

from tests.conftest import Project, Ran

MODEL = 'phi = env.PhiModel("tiny")\n'


def built(project: Project, *lines: str, family_model: str = MODEL) -> Ran:
    """Build these lines of an SConstruct, which must succeed."""
    project.sconstruct(family_model + "\n".join(lines) + "\n")
    ran = project.scons()
    assert ran.status == 0, ran.text
    return ran


def refused(project: Project, line: str) -> str:
    """The output for a line that must be refused, with its position, before anything runs."""
    project.sconstruct(MODEL + line + "\n")
    ran = project.scons()
    assert ran.status == 2, ran.text
    assert ran.actions == []
    assert "hint: " in ran.text, ran.text
    assert f"{project.folder / 'SConstruct'}, line 5" in ran.text
    assert "Traceback" not in ran.text
    assert not (project.folder / "dist").exists()
    return ran.text


def shown(project: Project, artifact: str) -> str:
    """The output of `phibuild show`."""
    ran = project.phibuild("show", artifact)
    assert ran.status == 0, ran.text
    return ran.text


def types(project: Project, artifact: str) -> dict[str, str]:
    """The type of each tensor, as shown."""
    rows = re.findall(
        r"^  (\S+) +(\S+) +\d+(?: x \d+)* +[\d.]+ \w+$", shown(project, artifact), re.M
    )
    assert rows
    return dict(rows)
