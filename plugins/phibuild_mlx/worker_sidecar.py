"""Writes the files that mlx-lm reads beside the weights: config, tokenizer, template, sampling.

config.json is the conversion's, with the ids that mlx-lm adds (mlx_lm/utils.py, `load_config` of
mlx-lm 0.31): those of the checkpoint's config.json, and eos_token_id of generation_config.json. No
framework is imported.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import phitokenizer
import phiworker

_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def main(job: phiworker.Job) -> None:
    view = job.inputs["model"]
    tokenizer = phitokenizer.Tokenizer(view)
    config = read(job.inputs["base"])
    given = read(view / "config.json")
    config |= {name: given[name] for name in _IDS if name in given}
    job.output.mkdir()
    generation = view / "generation_config.json"
    if generation.is_file():
        shutil.copyfile(generation, job.output / generation.name)
        stops = read(generation).get("eos_token_id")
        config |= {"eos_token_id": stops} if stops else {}
    text = json.dumps(dict(sorted(config.items())), indent=4)
    (job.output / "config.json").write_text(text, "utf-8")
    tokenizer.save(job.output)


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8")))


if __name__ == "__main__":
    phiworker.run(main)
