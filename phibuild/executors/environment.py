"""The environment of a worker: this list, and nothing else of the user's.

A variable in a worker's environment cannot change a result, or is a fact of the action. All others
(LD_LIBRARY_PATH, LD_PRELOAD, PYTHON*, OMP_*, OPENBLAS_*, MKL_*, CUDA_*, CC, CFLAGS, CPATH, CCACHE_*
...) are left out. Programs are in `job.tools`, by absolute paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from phibuild.process.answers import search_path

_FIXED = {
    # The same messages, sorting, times and order of sets everywhere.
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    # No time of day in an output.
    "SOURCE_DATE_EPOCH": "0",
    # A complete log of a worker that is killed.
    "PYTHONUNBUFFERED": "1",
    # Toolkits neither fetch nor report anything.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    # No warning when a process with tokenizer threads forks.
    "TOKENIZERS_PARALLELISM": "false",
}
_NETWORK = (
    *("PIP_", "UV_", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
"""Sources and settings of an action with network access; what it fetches has known digests."""


def worker_environment(
    user: Mapping[str, str],
    *,
    workspace: Path,
    programs: Iterable[Path],
    bytecode: Path,
    network: bool,
) -> dict[str, str]:
    """The environment of a worker that starts these programs."""
    home = str(workspace / "home")
    fetching = {}
    if network:  # ~/.netrc and pip's settings too
        home = user.get("HOME", home)
        fetching = {name: text for name, text in user.items() if name.startswith(_NETWORK)}
    return {
        **fetching,
        **_FIXED,
        **_python_library(user.get("LD_LIBRARY_PATH", "")),
        "PATH": search_path(*programs),
        "HOME": home,
        "TMPDIR": str(workspace / "tmp"),
        "PYTHONPYCACHEPREFIX": str(bytecode),
    }


def _python_library(search: str) -> dict[str, str]:
    """The folder of Python's own library, where Python would not start without LD_LIBRARY_PATH."""
    folders = {os.path.realpath(folder): folder for folder in search.split(":") if folder}
    maps = Path("/proc/self/maps")
    if not folders or not maps.exists():
        return {}
    with maps.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            folder, _, name = line.rstrip("\n").partition("/")[2].rpartition("/")
            if name.startswith("libpython") and f"/{folder}" in folders:
                return {"LD_LIBRARY_PATH": folders[f"/{folder}"]}
    return {}
