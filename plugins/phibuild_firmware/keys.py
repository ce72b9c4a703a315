"""Keys as inputs of actions."""

from __future__ import annotations

from phibuild.api import Action, Extras


def with_key(action: Action, name: str, extras: Extras) -> Action:
    """The same action with the key of this name, if the user passed one. It then runs where
    `cryptography` is installed."""
    if name not in extras:
        return action
    return action._replace(toolchain="signing", inputs=(*action.inputs, (name, extras[name])))
