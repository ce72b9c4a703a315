"""Python toolchains: one virtual environment for each lock file, installed on first use and shared.

uv installs, since it links packages from one cache: environments that hold the same torch hold it
once on disk (docs/decisions/0002). pip's own settings in the environment are passed on to it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from phibuild.model.digest import digest_of_value
from phibuild.model.errors import ToolchainError
from phibuild.model.facts import Fact, Facts
from phibuild.offers import PythonToolchain
from phibuild.toolchain.lock import read_lock
from phibuild.toolchain.removal import Removal, is_within, remove_owned

if TYPE_CHECKING:
    from phibuild.toolchain.inventory import FileDifference

_DONE = "phibuild-complete"
_PIP_TO_UV = {
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}
_FETCHING = (
    *("HOME", "USER", "PATH", "TMPDIR", "XDG_", "NETRC", "LD_LIBRARY_PATH"),
    *(
        "UV_DEFAULT_INDEX",
        "UV_INDEX",
        "UV_EXTRA_INDEX",
        "UV_FIND_LINKS",
        "UV_KEYRING",
        "UV_OFFLINE",
    ),
    *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE", "UV_HTTP", "UV_REQUEST", "UV_CONCURRENT"),
    *("SSL_", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
"""Prefixes of the variables that say how packages are fetched."""


class Interpreters(NamedTuple):
    """The environments under one root folder; `cache` is uv's, on the same file system, and
    `bytecode` keeps the modules that Python compiled."""

    root: Path
    cache: Path
    bytecode: Path

    def path_of(self, toolchain: PythonToolchain) -> Path:
        """The folder of a toolchain's environment, installed or not."""
        lock = read_lock(toolchain.lock)
        name = digest_of_value([str(lock.digest), sys.version, python_identity()])
        return self.root / f"{toolchain.name}-{name.hex[:12]}"

    def is_installed(self, toolchain: PythonToolchain) -> bool:
        """Whether the environment is complete and its base interpreter is still there."""
        folder = self.path_of(toolchain)
        return (folder / _DONE).exists() and (folder / "bin" / "python").exists()

    def python_of(self, toolchain: PythonToolchain) -> Path:
        """The interpreter inside the environment, under the folder's one real name: Python finds
        what it has compiled by the names of modules' files."""
        return self.path_of(toolchain).resolve() / "bin" / "python"

    def differences(
        self, toolchain: PythonToolchain, *, reads: bool
    ) -> list[FileDifference] | None:
        """The differences from the installation; None if an earlier version installed it, which
        listed no files. Unless it `reads`, only sizes are compared."""
        from phibuild.toolchain.inventory import FileDifference, differences, from_text

        folder = self.path_of(toolchain).resolve()
        try:
            inventory = from_text((folder / _DONE).read_text("utf-8", errors="replace"))
            if inventory is None:
                return None
            return differences(folder, inventory, without=_DONE, reads=reads)
        except OSError as error:
            return [FileDifference(str(error.filename), f"cannot be read: {error.strerror}")]

    def remove(self, toolchain: PythonToolchain) -> Removal:
        """Remove the environment and its compiled modules; the caller holds its lock. Of a link
        only the link: the environment belongs to another store."""
        return self.remove_folder(self.path_of(toolchain))

    def remove_folder(self, folder: Path) -> Removal:
        """The same for any environment."""
        real = folder.resolve()
        compiled = self.bytecode / real.relative_to(real.anchor)
        removal = remove_owned(folder, is_own=self._is_own(folder))
        if removal is Removal.REMOVED:
            self._log_of(folder).unlink(missing_ok=True)
            if is_within(compiled, self.bytecode):
                shutil.rmtree(compiled, ignore_errors=True)
        return removal

    def others(self, toolchains: Iterable[PythonToolchain]) -> list[Path]:
        """The complete environments of any toolchains but these."""
        known = {self.path_of(toolchain).name for toolchain in toolchains}
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        return [path for path in folders if (path / _DONE).is_file() and path.name not in known]

    def prune_cache(self) -> None:
        """Remove the packages from uv's cache that no environment uses."""
        self._run_cache("prune")

    def forget_packages(self, toolchain: PythonToolchain, paths: Iterable[str]) -> None:
        """Remove the packages of these files from uv's cache: a change in place is in the cache,
        too."""
        folder = self.path_of(toolchain).resolve()
        changed = {str(folder / path) for path in paths}
        packages = [
            record.parent.name.partition("-")[0]
            for record in folder.glob("lib/*/site-packages/*.dist-info/RECORD")
            if not changed.isdisjoint(_recorded(record))
        ]
        if packages:
            self._run_cache("clean", *packages)

    def _run_cache(self, *arguments: str) -> None:
        from phibuild.process.supervised import run_logged

        log = self.root / "uv-cache.log"
        environment = _environment(os.environ, self.cache)
        run_logged([_uv(), "cache", *arguments], folder=self.root, environment=environment, log=log)
        log.unlink(missing_ok=True)

    def _is_own(self, folder: Path) -> bool:
        """Whether phibuild made the folder: it is complete, or its installation began here."""
        return (folder / _DONE).is_file() or self._log_of(folder).is_file()

    def _log_of(self, folder: Path) -> Path:
        return self.root / f"{folder.name}.log"

    def install(self, toolchain: PythonToolchain) -> Path | None:
        """Install the environment; the caller holds its lock. A half-installed one is removed;
        anything that phibuild did not install gets another name, which is returned."""
        from phibuild.process.supervised import run_logged  # null builds start nothing
        from phibuild.renaming import KEPT, rename_beside

        folder = self.path_of(toolchain)
        self.root.mkdir(parents=True, exist_ok=True)
        log = self._log_of(folder)
        aside = None
        if not folder.is_symlink() and self._is_own(folder):
            shutil.rmtree(folder, ignore_errors=True)
        elif os.path.lexists(folder):
            aside = rename_beside(folder, folder, KEPT)
        log.unlink(missing_ok=True)
        uv = _uv()
        # The environment gets this interpreter, for which markers were read.
        commands: tuple[list[str | Path], ...] = (
            [uv, "venv", "--no-project", "--python", sys.executable, folder],
            [
                *(uv, "pip", "install", "--python", folder / "bin" / "python", "--no-deps"),
                *("--require-hashes", "--only-binary", ":all:", "--link-mode", "hardlink"),
                *("--index-strategy", "unsafe-best-match"),
                *("--requirements", toolchain.lock),
            ],
        )
        try:
            for command in commands:
                outcome = run_logged(
                    command,
                    folder=self.root,
                    environment=_environment(os.environ, self.cache),
                    log=log,
                )
                if outcome.status != 0:
                    raise _failed(toolchain, log)
            from phibuild.toolchain.inventory import take_inventory, to_text

            inventory = take_inventory(folder, without=_DONE)
            new = folder / f".{_DONE}"
            new.write_text(to_text(inventory), "utf-8")
            new.replace(folder / _DONE)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return aside


def facts_of_lock(toolchain: PythonToolchain) -> Facts:
    """The identity of a locked toolchain; reads a small file and imports nothing of it."""
    lock = read_lock(toolchain.lock)
    prefix = f"toolchain.{toolchain.name}"
    return (
        Fact(prefix, str(lock.digest)),
        Fact(f"{prefix}.python", python_identity()),
        *(Fact(f"{prefix}.{pin.name}", pin.version) for pin in lock.pins),
    )


def facts_of_current(toolchain: PythonToolchain) -> Facts:
    """The identity of the running interpreter in place of the locked one: installed versions.

    ToolchainError PHI605 when it lacks one of the toolchain's root packages.
    """
    prefix = f"toolchain.{toolchain.name}"
    versions = {pin.name: _installed(pin.name) for pin in read_lock(toolchain.lock).pins_here()}
    missing = [name for name in toolchain.roots if versions.get(name) is None]
    if missing:
        raise ToolchainError(
            f'toolchain="current" lacks {", ".join(missing)} in {sys.prefix}',
            hint=f"pip install 'phibuild[{toolchain.name}]', or leave toolchain= out",
            code="PHI605",
        )
    return (
        Fact(prefix, "current"),
        Fact(f"{prefix}.python", python_identity()),
        *(Fact(f"{prefix}.{name}", version) for name, version in versions.items() if version),
    )


def _recorded(record: Path) -> Iterator[str]:
    """The files of a package, from its RECORD."""
    import csv  # for repairs only

    with record.open(encoding="utf-8", errors="replace", newline="") as stream:
        for row in csv.reader(stream):
            if row:
                yield os.path.normpath(record.parent.parent / row[0])


def python_identity() -> str:
    """The running interpreter, on which every environment is based, for keys."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{sys.implementation.name} {version} {sys.platform} {platform.machine()}"


def _installed(name: str) -> str | None:
    from importlib import metadata  # slow to import, and only for `toolchain="current"`

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _uv() -> str:
    from uv import find_uv_bin

    return str(find_uv_bin())


def _environment(user: Mapping[str, str], cache: Path) -> dict[str, str]:
    """The variables that uv needs to fetch, with pip's settings under uv's names if uv's are not
    set. The lock alone says what is installed."""
    environment = {name: text for name, text in user.items() if name.startswith(_FETCHING)}
    for pip_name, uv_name in _PIP_TO_UV.items():
        if pip_name in user and uv_name not in user:
            separator = "," if uv_name == "UV_FIND_LINKS" else " "
            environment[uv_name] = separator.join(user[pip_name].split())
    environment["UV_CACHE_DIR"] = str(cache)
    return environment


def _failed(toolchain: PythonToolchain, log: Path) -> ToolchainError:
    try:
        tail = "\n".join(log.read_text("utf-8", errors="replace").strip().splitlines()[-6:])
    except OSError:
        tail = ""
    return ToolchainError(
        f"the toolchain {toolchain.name!r} could not be installed:\n{tail}",
        hint=f"is the package index reachable? the log is {log};"
        f" then: phibuild toolchain install {toolchain.name}",
    )
