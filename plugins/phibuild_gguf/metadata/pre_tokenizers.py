"""How text is split before byte-pair merging: llama.cpp's names for it, and how to recognise them.

The converter recognises a tokenizer by a hash of one tokenized sentence, which fails for every
vocabulary that llama.cpp does not list. Here the rule itself is compared. The names are those of
src/llama-vocab.cpp of the pinned llama.cpp. Standard library only: workers import it too.
"""

from __future__ import annotations

from typing import Any

# fmt: off
PRE_TOKENIZERS: tuple[str, ...] = (
    "a.x-4.0", "afmoe", "bailingmoe", "bailingmoe2", "bloom", "chameleon", "chatglm-bpe",
    "codeshell", "cohere2moe", "command-r", "dbrx", "deepseek-coder", "deepseek-llm",
    "deepseek-r1-qwen", "deepseek-v3", "default", "exaone", "exaone-moe", "exaone4", "f2llmv2",
    "falcon", "falcon-h1", "falcon3", "gemma4", "gigachat", "glm4", "glm5", "gpt-2", "gpt-4o",
    "gpt3-finnish", "granite-docling", "granite-embed-multi-311m", "granite-embed-multi-97m",
    "grok-2", "hunyuan", "hunyuan-dense", "hy_v4", "jais", "jais-2", "jina-de", "jina-es",
    "jina-v1-en", "jina-v2-code", "jina-v2-de", "jina-v2-es", "jina-v5-nano", "joyai-llm",
    "kanana2", "kimi-k2", "kormo", "laguna", "lfm2", "llada-moe", "llama-bpe", "llama-v3",
    "llama3", "llama4", "megrez", "mellum", "mellum2", "midm-2.0", "minerva-7b", "minicpm5",
    "minimax-m2", "modern-bert", "mpt", "olmo", "phi-2", "pixtral", "poro-chat", "qwen2",
    "qwen35", "refact", "roberta-bpe", "sarvam-moe", "seed-coder", "smaug-bpe", "smollm",
    "solar-open", "spark2_5", "stablelm2", "starcoder", "superbpe", "talkie", "tekken",
    "tiny_aya", "trillion", "ufakzeka", "viking", "whitespace", "youtu",
)
# fmt: on

_BYTE_LEVEL = ("ByteLevel",)
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_CL100K = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _TAIL
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _TAIL
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _TAIL
)

# Only names that change nothing else in llama.cpp, such as a token at the beginning.
_KNOWN: dict[tuple[str, ...], str] = {
    ("ByteLevel regex",): "gpt-2",
    ("Digits", "ByteLevel regex"): "smollm",
    (f"Split {_O200K}", *_BYTE_LEVEL): "gpt-4o",
    (f"Split {_CL100K}", *_BYTE_LEVEL): "dbrx",
    (f"Split {_QWEN2}", *_BYTE_LEVEL): "qwen2",
}


def is_byte_level(tokenizer: dict[str, Any]) -> bool:
    """Whether a tokenizer.json is byte-level byte-pair encoding, GPT-2's kind of vocabulary."""
    return "ByteLevel" in str(tokenizer.get("pre_tokenizer"))


def recognised(tokenizer: dict[str, Any]) -> str | None:
    """llama.cpp's name for how a tokenizer.json splits text; None without a name."""
    if tokenizer.get("normalizer") is not None or tokenizer["model"].get("ignore_merges"):
        return None
    rule = tokenizer.get("pre_tokenizer") or {}
    stages = rule.get("pretokenizers", []) if rule.get("type") == "Sequence" else [rule]
    return _KNOWN.get(tuple(_stage(stage) for stage in stages))


def _stage(stage: dict[str, Any]) -> str:
    kind = str(stage.get("type"))
    if kind == "ByteLevel" and not stage.get("add_prefix_space", True):
        return "ByteLevel regex" if stage.get("use_regex", True) else kind
    if kind == "Digits" and stage.get("individual_digits"):
        return kind
    if kind == "Split" and _keeps_matches(stage):
        return f"Split {stage.get('pattern', {}).get('Regex')}"
    return "unknown"


def _keeps_matches(stage: dict[str, Any]) -> bool:
    """Whether the matches of the pattern are kept as parts. All patterns here match every
    character, so nothing remains between the matches."""
    behavior, invert = stage.get("behavior"), stage.get("invert", False)
    return (behavior == "Removed" and invert) or behavior == "Isolated"
