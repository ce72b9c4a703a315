"""Make every `toolchain.lock` from the `toolchain.in` beside it: `python plugins/relock.py`.

All roots are resolved together first, so a package has one version in all toolchains and uv's cache
holds its files once. A lock lists the wheels of `PYTHONS` and `PLATFORMS` and no others; a package
that has none for one of them is an error. Needs uv, packaging and a package index; the result
depends on the `.in` files and on `AS_OF` alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

FOLDER = Path(__file__).parent

# Packages published later are not seen; to move all versions forward, move this date.
AS_OF = "2026-11-21"

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))

# Declared by some package, imported by none of the work: found by exporting, compressing and
# generating with the checkpoints of all families while recording what was imported.
UNUSED = (
    # CUDA's libraries, for a torch that never sees a GPU
    *("triton", "cuda-bindings", "cuda-toolkit", "nvidia-cudnn-cu13", "nvidia-cusparselt-cu13"),
    *("nvidia-nccl-cu13", "nvidia-nvshmem-cu13", "torchvision"),
    # command lines and downloads of the model hub; colours on Windows
    *("typer", "click", "hf-xet", "fsspec", "pygments", "markdown-it-py", "colorama"),
    # nncf's charts, pruning and kernels, and what reports usage to its makers
    *("scikit-learn", "pydot", "ninja", "openvino-telemetry"),
    # onnxruntime's model converter
    "flatbuffers",
)
# Used in the OpenVINO toolchain, not in these.
UNUSED_IN = {
    "phibuild_gguf": ("networkx", "setuptools", "requests"),
    "phibuild_onnx": ("networkx", "setuptools"),
}

# The CPU builds of torch for Linux are not in the main index, whose own wheels need CUDA's
# libraries; from https://pytorch.org, sha256 by Python version and machine.
TORCH = "2.13.0"
TORCH_CPU = {
    ("cp311", "x86_64"): "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
    ("cp312", "x86_64"): "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
    ("cp313", "x86_64"): "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
    ("cp314", "x86_64"): "d20fa53ee744502fa4c69818a720b05ca0d37abd055d4f6e66cae155114bc691",
    ("cp311", "aarch64"): "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",
    ("cp312", "aarch64"): "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",
    ("cp313", "aarch64"): "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",
    ("cp314", "aarch64"): "ca021f9eb2f8345c83fa03e3a04587308afb8df71bd472670b3ece00df58621c",
}


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of a package: what it runs on, and its sha256."""

    tags: frozenset[Tag]
    sha256: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One package of a lock; `marker` is empty where it is installed everywhere."""

    name: str
    version: str
    marker: str
    wheels: tuple[Wheel, ...]

    def __str__(self) -> str:
        marker = f" ; {self.marker}" if self.marker else ""
        digests = sorted({wheel.sha256 for wheel in self.wheels})
        return " \\\n    ".join(
            [f"{self.name}=={self.version}{marker}", *(f"--hash=sha256:{d}" for d in digests)]
        )


def main() -> None:
    """Write all locks; nothing is written when one of them cannot be made."""
    roots = sorted(FOLDER.glob("*/toolchain.in"))
    with tempfile.TemporaryDirectory() as scratch:
        together = Path(scratch, "pylock.toml")
        compile_roots(roots, together, unused=UNUSED)
        constraints = Path(scratch, "constraints.txt")
        constraints.write_text(
            "".join(f"{entry.name}=={entry.version}\n" for entry in read_pylock(together))
        )
        texts = {}
        for root in roots:
            output = Path(scratch, f"pylock.{root.parent.name.replace('_', '-')}.toml")
            unused = (*UNUSED, *UNUSED_IN.get(root.parent.name, ()))
            compile_roots([root], output, unused=unused, constraints=constraints)
            entries = [kept for entry in read_pylock(output) for kept in narrowed(entry)]
            texts[root.with_suffix(".lock")] = (
                "# Made by plugins/relock.py from toolchain.in; not edited by hand.\n"
                + "".join(f"{entry}\n" for entry in entries)
            )
    for path, text in texts.items():
        path.write_text(text, "utf-8")


def compile_roots(
    roots: list[Path], output: Path, *, unused: tuple[str, ...], constraints: Path | None = None
) -> None:
    """Resolve the roots for all platforms at once; the wheels' names and digests go to `output`."""
    excludes = output.with_suffix(".excludes")
    excludes.write_text("".join(f"{name}\n" for name in unused))
    constrained = ["--constraints", str(constraints)] if constraints else []
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--universal"),
        *("--python-version", "{}.{}".format(*PYTHONS[0]), "--fork-strategy", "fewest"),
        *("--only-binary", ":all:", "--exclude-newer", AS_OF, "--excludes", str(excludes)),
        *constrained,
        *("--format", "pylock.toml", "--output-file", str(output), *map(str, roots)),
    ]
    # The local folders of a developer hold a subset of the wheels that the index has.
    environment = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def read_pylock(path: Path) -> Iterator[Entry]:
    """The packages of a pylock.toml (PEP 751)."""
    for package in tomllib.loads(path.read_text("utf-8"))["packages"]:
        wheels = (
            Wheel(
                parse_wheel_filename(wheel["url"].rpartition("/")[2])[3], wheel["hashes"]["sha256"]
            )
            for wheel in package["wheels"]
        )
        yield Entry(package["name"], package["version"], package.get("marker", ""), tuple(wheels))


def narrowed(entry: Entry) -> Iterator[Entry]:
    """The entry with the wheels that can be wanted; torch becomes one entry for each system."""
    if entry.name == "torch":
        yield linux_torch(entry.version)
        entry = Entry(entry.name, entry.version, "sys_platform == 'darwin'", entry.wheels)
    wanted: set[Wheel] = set()
    for python in PYTHONS:
        for system, machine in PLATFORMS:
            if entry.marker and not Marker(entry.marker).evaluate(
                environment_of(python, system, machine)
            ):
                continue
            tags = tags_of(python, system, machine)
            fitting = {wheel for wheel in entry.wheels if wheel.tags & tags}
            if not fitting:
                where = f"Python {python[0]}.{python[1]} {system}"
                sys.exit(f"{entry.name} {entry.version}: no wheel for {where} {machine}")
            wanted |= fitting
    if wanted:
        yield Entry(entry.name, entry.version, entry.marker, tuple(wanted))


def linux_torch(version: str) -> Entry:
    """torch's CPU build: uv takes a file's digest for the exact version only, so `+cpu` is said."""
    if version != TORCH:
        sys.exit(f"torch {version}: TORCH_CPU has the digests of {TORCH}")
    return Entry(
        "torch",
        f"{version}+cpu",
        "sys_platform == 'linux'",
        tuple(Wheel(frozenset(), sha256) for sha256 in TORCH_CPU.values()),
    )


def environment_of(python: tuple[int, int], system: str, machine: str) -> dict[str, str]:
    """The variables that a marker may ask for."""
    version = "{}.{}".format(*python)
    return {
        "sys_platform": system,
        "platform_system": system.capitalize(),
        "platform_machine": machine,
        "os_name": "posix",
        "python_version": version,
        "python_full_version": f"{version}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def tags_of(python: tuple[int, int], system: str, machine: str) -> frozenset[Tag]:
    """The wheel tags that the newest release of a system installs."""
    if system == "darwin":
        platforms = list(mac_platforms((26, 0), machine))
    else:
        glibc = [f"manylinux_2_{minor}_{machine}" for minor in range(40, 16, -1)]
        platforms = [*glibc, f"manylinux2014_{machine}", f"linux_{machine}"]
    abi = "cp{}{}".format(*python)
    return frozenset(cpython_tags(python, [abi], platforms)) | frozenset(
        compatible_tags(python, abi, platforms)
    )


if __name__ == "__main__":
    main()
