"""The one exception tree: each error has a code, and says what is wrong, where, and what to do."""

from __future__ import annotations

# docs/reference/errors.md is generated from this table.
CODES: dict[str, str] = {
    "PHI101": "the checkpoint's folder or a file that it needs is missing",
    "PHI102": "a safetensors file is truncated or has a damaged header",
    "PHI103": "a JSON file or template of the checkpoint is missing or unreadable, or a field in it"
    " is missing or of the wrong type",
    "PHI104": "the checkpoint holds pickled weights (.bin, .pt), which are never loaded",
    "PHI105": "a file of the source leads out of the source folder",
    "PHI106": "the source, or the code of a worker, changed while it was being read",
    "PHI107": "the tensors of a checkpoint are not those that its config.json implies",
    "PHI108": "a weight is infinite or not a number",
    "PHI109": "a token's id is beyond the rows of the embedding",
    "PHI110": "a package could not be fetched",
    "PHI111": "a fetched file does not have the expected sha256",
    "PHI112": "a file has a content that the worker cannot read",
    "PHI113": "a file of the checkpoint was not downloaded: a git-lfs pointer or a broken link",
    "PHI114": "the folder is not a complete checkpoint, or has several sets of weights",
    "PHI201": "a recipe field is unknown, misspelt or outdated",
    "PHI202": "a recipe field's value is of the wrong type or out of range",
    "PHI203": "the backend cannot build or run this combination",
    "PHI204": "the backend does not support this architecture",
    "PHI205": "a target or an input has no usable path, or a target would replace other files",
    "PHI301": "the store has a format that this version does not support",
    "PHI302": "the store cannot be read or written, or its folder holds other files",
    "PHI303": "an artifact's manifest is unreadable",
    "PHI304": "a file that phibuild did not build is at an artifact's path",
    "PHI305": "an artifact cannot be written to its path",
    "PHI306": "the store has no such result, or it is not pinned",
    "PHI401": "a worker failed",
    "PHI402": "a worker was killed or ran out of memory",
    "PHI403": "a worker ended without its output",
    "PHI404": "the disk is full",
    "PHI405": "another build is working in this folder",
    "PHI406": "the build was interrupted",
    "PHI407": "a worker sent an invalid message, or reported a wrong digest",
    "PHI408": "a worker imports a module that it is not shown",
    "PHI501": "two plugins claim one name, or a hook is misspelt",
    "PHI502": "a plugin was written for another api_version",
    "PHI503": "no plugin provides what was requested",
    "PHI504": "another build cannot find a phibuild command that works",
    "PHI601": "no working C++ compiler was found",
    "PHI602": "a toolchain's source could not be fetched or is not the pinned one",
    "PHI603": "a native toolchain failed to configure or to compile",
    "PHI604": "a Python toolchain could not be installed",
    "PHI605": 'the current interpreter lacks packages that toolchain="current" needs',
    "PHI606": "a required program was not found on PATH, or does not print its version",
    "PHI607": "a toolchain is damaged: its files are not those that were installed",
    "PHI701": "an artifact is larger than the place that it is for",
    "PHI702": "a file is not a model image, or is damaged",
    "PHI703": "a delta is damaged, belongs to another file, or its output already exists",
    "PHI704": "a key is not an unencrypted ed25519 key in PEM",
    "PHI705": "an image is not signed, or not by the key that its firmware trusts",
    "PHI801": "the generated text does not contain what was expected",
    "PHI802": "the artifact did not load or generate in its own runtime",
}


class PhiError(Exception):
    """A problem (`message`), its remedy (`hint`), and a stable `code`."""

    default_code = "PHI401"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code

    def __str__(self) -> str:
        from phibuild.model.text import printable_lines  # for errors only

        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return printable_lines(f"[{self.code}] {self.message}{hint}")


class SourceError(PhiError):
    """PHI1xx: the checkpoint cannot be used as it is."""

    default_code = "PHI101"


class RecipeError(PhiError):
    """PHI2xx: the SConstruct requests something that is not supported."""

    default_code = "PHI201"


class StoreError(PhiError):
    """PHI3xx: bytes at rest cannot be read or written."""

    default_code = "PHI302"


class ActionError(PhiError):
    """PHI4xx: an action ran and failed."""

    default_code = "PHI401"


class PluginError(PhiError):
    """PHI5xx: plugins are missing or contradict each other."""

    default_code = "PHI503"


class ToolchainError(PhiError):
    """PHI6xx: a toolchain or program is missing or damaged."""

    default_code = "PHI604"


class PackagingError(PhiError):
    """PHI7xx: an artifact does not fit the device."""

    default_code = "PHI701"


class CheckError(PhiError):
    """PHI8xx: an artifact was built and does not work."""

    default_code = "PHI801"


def error_of_code(code: str, message: str, *, hint: str) -> PhiError:
    """The error of the class that `code` belongs to, for failures that a worker reports by code."""
    classes: dict[str, type[PhiError]] = {
        "1": SourceError,
        "2": RecipeError,
        "3": StoreError,
        "4": ActionError,
        "5": PluginError,
        "6": ToolchainError,
        "7": PackagingError,
        "8": CheckError,
    }
    return classes.get(code[3:4], ActionError)(message, hint=hint, code=code)
