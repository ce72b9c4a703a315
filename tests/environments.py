"""Environments of users that may change no result: what is set, and what a shell sets besides."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.conftest import Project, Ran


class Hostile(NamedTuple):
    """Variables, what a shell does before it starts SCons, and the cores that it may use."""

    variables: Mapping[str, str]
    shell: str = ":"
    cores: str = ""


def hostile(folder: Path) -> dict[str, Hostile]:
    """Ten environments by what they are about; `folder` gets the files that they name."""
    folder.mkdir()
    for name, text in {
        "python/sitecustomize.py": "import os, sys\n"
        f"with open({str(folder / 'customized')!r}, 'a') as file: print(sys.argv, file=file)\n",
        "python/torch/__init__.py": "raise ImportError('not the torch that is locked')\n",
        "python/mlx/__init__.py": "raise ImportError('not the mlx that is locked')\n",
        "lib/libgomp-a34b3233.so.1": "not a library",
        "lib/libgomp.so.1": "not a library",
        "lib/libopenblas.so.0": "not a library",
        "a folder, ü/.keep": "",
        "bin/as": "#!/bin/sh\nexit 1\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "bin" / "as").chmod(0o755)
    return {
        "language": Hostile(
            {
                "LANG": "de_DE.UTF-8",
                "LC_ALL": "tr_TR.UTF-8",
                "LANGUAGE": "de:fr",
                "TZ": "Asia/Tokyo",
            }
        ),
        "python": Hostile(
            {
                "PYTHONPATH": str(folder / "python"),
                "PYTHONHASHSEED": "123",
                "PYTHONOPTIMIZE": "2",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONMALLOC": "debug",
            }
        ),
        "libraries": Hostile(
            {"LD_LIBRARY_PATH": f"{folder / 'lib'}:/nowhere", "LD_PRELOAD": "/nowhere/none.so"}
        ),
        "threads": Hostile(
            {
                **dict.fromkeys(
                    (
                        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
                        *("GOTO_NUM_THREADS", "RAYON_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
                    ),
                    "3",
                ),
                "OMP_SCHEDULE": "dynamic,1",
                "KMP_AFFINITY": "disabled",
            }
        ),
        "kernels": Hostile(
            {
                "OPENBLAS_CORETYPE": "Prescott",
                "MKL_CBWR": "COMPATIBLE",
                "ATEN_CPU_CAPABILITY": "avx2",
                "ONEDNN_MAX_CPU_ISA": "SSE41",
                "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
                "CUDA_VISIBLE_DEVICES": "7",
                "GGML_N_THREADS": "9",
            }
        ),
        "toolkits": Hostile(
            {
                "HF_HOME": "/nowhere",
                "HF_HUB_OFFLINE": "0",
                "TRANSFORMERS_CACHE": "/nowhere",
                "TORCH_HOME": "/nowhere",
                "ORT_LOG_LEVEL": "0",
                "OPENVINO_LOG_LEVEL": "5",
                "MLX_METAL_JIT": "1",
                "PYTORCH_ENABLE_MPS_FALLBACK": "1",
            }
        ),
        "compilers": Hostile(
            {
                **dict.fromkeys(("CFLAGS", "CXXFLAGS", "CPPFLAGS"), "-O0 -ffast-math -DNDEBUG=7"),
                "LDFLAGS": "-Wl,--no-such-option",
                "CPATH": "/nowhere",
                "LIBRARY_PATH": "/nowhere",
                "COMPILER_PATH": str(folder / "bin"),
                "CMAKE_BUILD_TYPE": "Debug",
                "CMAKE_GENERATOR": "Unix Makefiles",
                "CCACHE_DIR": "/nowhere",
                "SOURCE_DATE_EPOCH": "1234567890",
            }
        ),
        "folders": Hostile(
            {
                "HOME": "/nowhere",
                "TMPDIR": str(folder / "a folder, ü"),
                "XDG_CACHE_HOME": "/nowhere",
                "XDG_CONFIG_HOME": "/nowhere",
            }
        ),
        "limits": Hostile({}, shell="umask 077; ulimit -c unlimited; ulimit -Sn 512; trap '' HUP"),
        "cores": Hostile({}, shell="umask 0", cores="0"),
    }


def in_environment(project: Project, environment: Hostile, *arguments: str) -> Ran:
    """Run SCons in it, as a shell would."""
    bound = ["taskset", "-c", environment.cores] if environment.cores else []
    assigned = (f"{name}={text}" for name, text in environment.variables.items())
    return project.run(
        *("sh", "-c", f'{environment.shell}; exec "$@"', "sh", *bound, "env", *assigned),
        *(sys.executable, "-P", "-m", "SCons", "-Q", *arguments),
    )
