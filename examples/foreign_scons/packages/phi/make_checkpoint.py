"""Writes a checkpoint with random weights instead of a real model."""

import phiworker

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint


def main(job: phiworker.Job) -> None:
    write_checkpoint(job.output, FAMILIES["phi-3"], layers=1, seed=job.recipe["seed"])


phiworker.run(main)
