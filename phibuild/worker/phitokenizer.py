"""A checkpoint's tokenizer as transformers 5 saves it, without transformers: for workers that write
the small files of an artifact under any interpreter. Standard library only, Python 3.10 and later.

For Phi models transformers copies tokenizer.json, sets the flags of tokens from the settings, and
adds the tokens that only the settings name. It drops the settings that repeat this, and those that
it ignores beside a tokenizer.json (`TokenizersBackend`, `_from_pretrained` and `save_pretrained` of
transformers 5.5).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import phiworker

_ROLES = (
    *("bos_token", "eos_token", "unk_token", "sep_token"),
    *("pad_token", "cls_token", "mask_token"),
)
_READ = (
    *("add_bos_token", "add_eos_token", "added_tokens_decoder", "additional_special_tokens"),
    *("chat_template", "init_inputs"),
)
_NO_LIMIT = int(1e30)  # what transformers writes for a context without limit
_FLAGS = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

Json = dict[str, Any]


class Tokenizer:
    """The tokenizer of a view that shows the slice `tokenizer`."""

    def __init__(self, model: Path) -> None:
        """WorkerError PHI101 if the checkpoint has no tokenizer.json."""
        if not (model / "tokenizer.json").is_file():
            raise phiworker.WorkerError(
                "the checkpoint has no tokenizer.json",
                hint="transformers builds it from the other files:"
                " AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
                code="PHI101",
            )
        self.document = {"added_tokens": [], **_read(model / "tokenizer.json")}
        settings = _read(model / "tokenizer_config.json")
        template = model / "chat_template.jinja"
        self.templates = _templates(settings.get("chat_template"))
        if template.is_file():
            self.templates["default"] = template.read_text("utf-8")
        tokens = _tokens_of_settings(model, settings, self.document["added_tokens"])
        extra = settings.get("extra_special_tokens", settings.get("additional_special_tokens"))
        self.roles = {role: _content(settings.get(role)) for role in _ROLES if role in settings}
        for token in tokens:
            special = bool(token["special"]) or token["content"] in self.roles.values()
            self._add(token | {"special": special})
        named = [settings[role] for role in self.roles if settings[role]]
        for token in [*named, *(extra if isinstance(extra, list) else ())]:
            if _content(token) not in {known["content"] for known in self.document["added_tokens"]}:
                fields = token if isinstance(token, dict) else {"content": token}
                self._add(_token({**fields, "special": True}))
        self.document["added_tokens"] = [
            {"id": token["id"], **dict(sorted(token.items()))}  # one order, whatever the source
            for token in sorted(self.document["added_tokens"], key=lambda token: token["id"])
        ]
        self.settings = {name: value for name, value in settings.items() if name not in _READ}
        self.settings |= {"backend": "tokenizers", "is_local": True}
        self.settings |= {"tokenizer_class": "TokenizersBackend", **self.roles}
        self.settings.setdefault("model_max_length", _NO_LIMIT)
        if isinstance(extra, list) and extra:
            self.settings["extra_special_tokens"] = list(map(_content, extra))

    def id_of(self, content: str | None) -> int | None:
        """The id of a token by its text; None if there is none."""
        for token in self.document["added_tokens"]:
            if token["content"] == content:
                return int(token["id"])
        pieces = self.document["model"]["vocab"]
        if isinstance(pieces, dict):
            return pieces.get(content)
        return next((index for index, pair in enumerate(pieces) if pair[0] == content), None)

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json and the chat templates."""
        document = json.dumps(self.document, ensure_ascii=False, separators=(",", ":"))
        (folder / "tokenizer.json").write_text(document, "utf-8")
        settings = json.dumps(self.settings, ensure_ascii=False, indent=2, sort_keys=True)
        (folder / "tokenizer_config.json").write_text(settings + "\n", "utf-8")
        for name, text in self.templates.items():
            path = folder / "chat_template.jinja"
            if name != "default":
                path = folder / "additional_chat_templates" / f"{name}.jinja"
                path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")

    def _add(self, token: Json) -> None:
        """Set a token's flags, and its id if it has none, as the library tokenizers does."""
        identity = self.id_of(token["content"])
        added = self.document["added_tokens"]
        if identity is None:
            pieces = len(self.document["model"]["vocab"])
            identity = max(pieces, 1 + max((other["id"] for other in added), default=-1))
        others = [other for other in added if other["id"] != identity]
        self.document["added_tokens"] = [*others, {**token, "id": identity}]


def _tokens_of_settings(model: Path, settings: Json, known: list[Json]) -> list[Json]:
    """The tokens beside tokenizer.json, by id: those of tokenizer_config.json, else those of the
    files of older checkpoints, whose special tokens then override the settings'."""
    if "added_tokens_decoder" in settings:
        decoder = settings["added_tokens_decoder"]
        return [_token(decoder[key]) for key in sorted(decoder, key=int)]
    for role, token in _read(model / "special_tokens_map.json").items():
        settings[role] = token
    special = {_content(settings.get(role)) for role in _ROLES}
    held = {token["id"] for token in known}
    added = _read(model / "added_tokens.json")
    return [
        _token({"content": content, "special": content in special})
        for content, index in sorted(added.items(), key=lambda pair: int(pair[1]))
        if index not in held
    ]


def _token(token: Json) -> Json:
    flags = _FLAGS | {"normalized": not token.get("special", False), "special": False}
    return {name: token.get(name, flag) for name, flag in flags.items()} | {
        "content": token["content"]
    }


def _content(token: Any) -> Any:
    return token["content"] if isinstance(token, dict) else token


def _templates(named: Any) -> dict[str, str]:
    """Chat templates by name: older checkpoints have a list of them."""
    if isinstance(named, str):
        return {"default": named}
    return {template["name"]: template["template"] for template in named or ()}


def _read(path: Path) -> Json:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}
