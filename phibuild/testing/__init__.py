"""For tests, this project's and a plugin author's. Public are:

- `BackendContract` (`contract.py`, needs pytest): the rules that every backend keeps
- `checkpoints.py`: writes checkpoints of every Phi family, with random weights
- `checkpoint_edits.py`: changes one thing of a checkpoint

What begins with an underscore is private.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phibuild.testing.contract import BackendContract

__all__ = ["BackendContract"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # whoever only writes a checkpoint needs no pytest
        from phibuild.testing import contract

        return getattr(contract, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
