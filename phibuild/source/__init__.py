"""Checkpoints and their slices: a model is read in parts that change for different reasons."""

from phibuild.source.checkpoint import Checkpoint, read_checkpoint, slice_items
from phibuild.source.documents import CARD
from phibuild.source.tensors import Memory, SourceTensor
from phibuild.source.view import lay_out, tensor_places

__all__ = [
    "CARD",
    "Checkpoint",
    "Memory",
    "SourceTensor",
    "lay_out",
    "read_checkpoint",
    "slice_items",
    "tensor_places",
]
