"""The tokenizers of the Phi models as values: their special tokens around few pieces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from phibuild.testing._checkpoints.families import TokenizerKind
from phibuild.testing._checkpoints.vocabularies import (
    Vocabulary,
    byte_level_vocabulary,
    sentencepiece_vocabulary,
)

# Rows of the embedding that the published models leave without a token, or nearly so.
PADDING = 64


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is matched before the text is cut into pieces."""

    content: str
    id: int
    special: bool = True
    rstrip: bool = False
    normalized: bool = False


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer as a value. ``stops`` end generation; an empty ``pad`` means none."""

    kind: TokenizerKind
    vocabulary: Vocabulary
    added: tuple[AddedToken, ...]
    bos: str
    eos: str
    unk: str
    pad: str
    stops: tuple[str, ...]
    chat_template: str

    def id_of(self, content: str) -> int:
        return next(token.id for token in self.added if token.content == content)

    @property
    def words(self) -> range:
        """The ids of whole printable text, neither bytes nor marks."""
        first = 3 + 256 if self.kind == "phi-3" else 256
        return range(first, len(self.vocabulary.pieces))


@cache
def make_tokenizer(kind: TokenizerKind, vocab: int) -> Tokenizer:
    """The tokenizer of a model with ``vocab`` rows: its tokens, then rows without one."""
    if vocab < 512:
        raise ValueError(f"vocab is {vocab}: bytes, characters and special tokens need 512")
    pieces = vocab - PADDING
    if kind == "phi-3":
        return phi3_tokenizer(sentencepiece_vocabulary(pieces))
    if kind == "phi-4-mini":
        return phi4_tokenizer(byte_level_vocabulary(pieces))
    return phi2_tokenizer(byte_level_vocabulary(pieces))


def phi2_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """GPT-2's, with runs of white space added as ordinary tokens; a base model has no template."""
    end = "<|endoftext|>"
    runs = [" " * length for length in range(8, 1, -1)] + ["\t" * length for length in (4, 3, 2)]
    first = len(vocabulary.pieces)
    added = (
        AddedToken(end, first),
        *(
            AddedToken(run, first + 1 + index, special=False, normalized=True)
            for index, run in enumerate(runs)
        ),
    )
    return Tokenizer("phi-2", vocabulary, added, end, end, end, "", (end,), "")


def phi3_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """Llama's, with turns marked by special tokens."""
    names = "endoftext assistant placeholder1 placeholder2 placeholder3 placeholder4"
    names += " system end placeholder5 placeholder6 user"
    marks = special_tokens(names, first=len(vocabulary.pieces), rstrip=True)
    controls = (
        AddedToken("<unk>", 0),
        AddedToken("<s>", 1),
        AddedToken("</s>", 2, special=False, rstrip=True),
    )
    return Tokenizer(
        kind="phi-3",
        vocabulary=vocabulary,
        added=(*controls, *marks),
        bos="<s>",
        eos="<|endoftext|>",
        unk="<unk>",
        pad="<|endoftext|>",
        stops=("<|end|>", "<|assistant|>", "<|endoftext|>"),
        chat_template=turns(separator=r"\n"),
    )


def phi4_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """GPT-4o's, with turns and tool calls marked by special tokens."""
    end = "<|endoftext|>"
    names = "endoftext endofprompt assistant end user system"
    names += " tool /tool tool_call /tool_call tool_response tag"
    return Tokenizer(
        kind="phi-4-mini",
        vocabulary=vocabulary,
        added=special_tokens(names, first=len(vocabulary.pieces), rstrip=False),
        bos=end,
        eos=end,
        unk=end,
        pad=end,
        stops=("<|end|>", end),
        chat_template=turns(separator=""),
    )


def special_tokens(names: str, *, first: int, rstrip: bool) -> tuple[AddedToken, ...]:
    return tuple(
        AddedToken(f"<|{name}|>", first + index, rstrip=rstrip and name != "endoftext")
        for index, name in enumerate(names.split())
    )


def turns(*, separator: str) -> str:
    """Phi's chat template: each turn between its role's mark and an end mark."""
    return (
        "{% for message in messages %}"
        f"{{{{ '<|' + message['role'] + '|>{separator}' + message['content']"
        f" + '<|end|>{separator}' }}}}"
        "{% endfor %}"
        f"{{% if add_generation_prompt %}}{{{{ '<|assistant|>{separator}' }}}}"
        "{% else %}{{ eos_token }}{% endif %}"
    )
