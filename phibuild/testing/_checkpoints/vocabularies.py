"""Small vocabularies: byte pair merges learnt from a short text, the same on every machine.

No tokenizer library is used: their trainers break ties differently from version to version.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

# Some 225 different words, from which about 720 merges can be learnt.
TEXT = """
The quantized model answers questions about France: the capital of France is Paris, a city on the
river Seine. Germany has Berlin, Italy has Rome, Spain has Madrid and Portugal has Lisbon.
A checkpoint keeps weights, tokenizer and configuration; every artifact remembers exactly which
slices produced it. When somebody changes one chat template, nothing expensive happens again.
Engineers ship language models to phones, laptops, microcontrollers and other small devices.
They measure memory, latency, accuracy and temperature before the firmware leaves the laboratory.
Yesterday evening we watched heavy rain falling between old wooden houses near the northern harbour.
Please explain briefly why hydrogen burns with oxygen, and how water becomes vapour under pressure!
def generate(prompt, length): return sampler.advance(prompt, maximum=length, temperature=0.7)
Twelve musicians played without notes; their conductor smiled, nodded twice and closed his eyes.
Numbers such as 3, 14, 159, 2653 and 58979 appear inside tables, dates, prices and versions.
Could you translate "good morning, my friend" into French? Bien entendu: bonjour, mon ami.
Mountains, valleys, glaciers and deserts shape weather differently from oceans or cities.
Researchers published surprising experiments describing attention, embeddings and rotary positions.
Nobody knows whether butterflies remember yellow flowers; gardeners certainly hope that they do.
Seven travellers crossed frozen valleys, carrying blankets, candles, bread and smoked salmon.
Compilers translate readable programs into instructions; linkers join objects and libraries.
Grandmother quickly knitted jackets from purple wool, humming melodies while autumn leaves dropped.
"""

PRINTABLE = tuple(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Pieces in the order of their ids, and the merges that join them in the order of rank."""

    pieces: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]


@cache
def byte_characters() -> Mapping[int, str]:
    """GPT-2's printable character for each byte, in the order of GPT-2's ids."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    return characters | {byte: chr(256 + index) for index, byte in enumerate(others)}


@cache
def sentencepiece_vocabulary(size: int) -> Vocabulary:
    """A vocabulary laid out as Llama's: three control pieces, bytes, merged pieces, characters."""
    fixed = ("<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)))
    characters = ("▁", *PRINTABLE)
    merges = learn_merges(words(space="▁"), size - len(fixed) - len(characters))
    pieces = (*fixed, *(left + right for left, right in merges), *characters)
    return Vocabulary(pieces, every_split(pieces[len(fixed) : -len(characters)], frozenset(pieces)))


@cache
def byte_level_vocabulary(size: int) -> Vocabulary:
    """A vocabulary laid out as GPT-2's: the 256 bytes, then the merged pieces."""
    characters = byte_characters()
    merges = learn_merges(words(space=characters[0x20]), size - len(characters))
    return Vocabulary((*characters.values(), *(left + right for left, right in merges)), merges)


def every_split(joined: tuple[str, ...], pieces: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """All pairs of pieces that make the joined ones, for SentencePiece merges any such pair."""
    return tuple(
        (piece[:cut], piece[cut:])
        for piece in joined
        for cut in range(1, len(piece))
        if piece[:cut] in pieces and piece[cut:] in pieces
    )


def words(*, space: str) -> Counter[str]:
    """The text cut where every pre-tokenizer cuts it, so that each merge can be reached."""
    parts = re.findall(r" ?[A-Za-z]+| ?[^\sA-Za-z]+", TEXT.replace("\n", " "))
    return Counter(word.replace(" ", space) for word in parts)


def learn_merges(words: Counter[str], count: int) -> tuple[tuple[str, str], ...]:
    """At most ``count`` merges: the most frequent pair first, equal ones by their spelling."""
    spellings = {word: tuple(word) for word in words}
    pairs: Counter[tuple[str, str]] = Counter()
    for word, spelling in spellings.items():
        for pair in pairwise(spelling):
            pairs[pair] += words[word]
    merges: list[tuple[str, str]] = []
    while len(merges) < count and (most := max(pairs.values())):
        best = min(pair for pair, times in pairs.items() if times == most)
        merges.append(best)
        for word, spelling in spellings.items():
            joined = merge(spelling, best)
            if joined is not spelling:
                spellings[word] = joined
                for pair in pairwise(spelling):
                    pairs[pair] -= words[word]
                for pair in pairwise(joined):
                    pairs[pair] += words[word]
    return tuple(merges)


def merge(spelling: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The spelling with every occurrence of the pair joined, from left to right."""
    if pair[0] not in spelling:
        return spelling
    joined: list[str] = []
    position = 0
    while position < len(spelling):
        width = 2 if spelling[position : position + 2] == pair else 1
        joined.append("".join(spelling[position : position + width]))
        position += width
    return tuple(joined)
