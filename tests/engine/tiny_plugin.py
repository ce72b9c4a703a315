"""A plugin whose toolchain locks one tiny package, with the wheels of it."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from phibuild.offers import PythonToolchain

PLUGIN = """\
from pathlib import Path

from phibuild.api import Action, Backend, Description, PythonToolchain, hookimpl, recipe_field
from dataclasses import dataclass

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class TinyRecipe:
    comment: str = recipe_field("", "What to say.", kind="str")


def plan(recipe, model, extras):
    return Action(name="tiny.write", worker=HERE / "tiny_worker.py", toolchain="tiny", recipe=())


@hookimpl
def phibuild_toolchains():
    return (PythonToolchain("tiny", HERE / "tiny.lock", roots=("phitiny",)),)


@hookimpl
def phibuild_backends():
    return (
        Backend(
            name="tiny",
            builder="Tiny",
            format="tiny",
            kind="file",
            recipe=TinyRecipe,
            check=lambda recipe, model, extras: None,
            plan=plan,
            label=lambda recipe: "tiny",
            describe=lambda path: Description("tiny", (), ()),
        ),
    )
"""
WORKER = """\
import sys
import phitiny
import phiworker


def main(job):
    job.output.write_text(f"{phitiny.VERSION} {sys.prefix}")


if __name__ == "__main__":
    phiworker.run(main)
"""
SCONSTRUCT = 'env.Tiny("out.txt", env.PhiModel("model"))\n'


@dataclass(frozen=True)
class TinyPlugin:
    """The plugin's folder, on PYTHONPATH as an installed distribution, and a folder of wheels."""

    folder: Path
    wheels: Path

    def write(self) -> None:
        """Write the plugin, and what makes its entry point found."""
        self.wheels.mkdir()
        info = self.folder / "tiny_plugin-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[phibuild]\ntiny = tiny_plugin\n")
        (self.folder / "tiny_plugin.py").write_text(PLUGIN)
        (self.folder / "tiny_worker.py").write_text(WORKER)

    def lock(self, version: str) -> None:
        """Pin this version of the package; its wheel is there as well."""
        digest = write_wheel(self.wheels, version)
        (self.folder / "tiny.lock").write_text(f"phitiny=={version} --hash=sha256:{digest}\n")

    @property
    def toolchain(self) -> PythonToolchain:
        """What the plugin offers."""
        return PythonToolchain("tiny", self.folder / "tiny.lock", roots=("phitiny",))


def write_wheel(folder: Path, version: str) -> str:
    """Write the package's wheel; the sha256 of the file."""
    info = f"phitiny-{version}.dist-info"
    files = {
        "phitiny.py": f'VERSION = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: phitiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = f"{info}/RECORD,,\n" + "".join(
        f"{name},sha256={record_digest(text)},{len(text)}\n" for name, text in files.items()
    )
    path = folder / f"phitiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name), text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record_digest(text: str) -> str:
    """The spelling of a sha256 in a wheel's RECORD."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
