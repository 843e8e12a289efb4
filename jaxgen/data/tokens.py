"""Byte-pair tokens (Sennrich et al., 2016, https://arxiv.org/abs/1508.07909) as CLIP has them.

A word is its bytes, the last of which is another symbol than the same byte elsewhere; pairs of
symbols merge in the order in which they were learned. Numbers: 256 bytes, 256 bytes at the end of a
word, the merges, the start and the end. A text is start, words, end, then zeros; ftfy mends it
first, as in the authors' code.

A vocabulary is a file of merges in the published layout, a line of two symbols each under a line
of comment. It is learned from the captions at hand, or the user's copy of the published
bpe_simple_vocab_16e6.txt.gz.
"""

import collections
import dataclasses
import functools
import gzip
import html
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import regex

from jaxgen.errors import UserError
from jaxgen.files import replacing
from jaxgen.progress import say

PUBLISHED = 48_894  # merges of the published vocabulary of 49,408; its file has more
END = "</w>"
SPECIAL = ("<|startoftext|>", "<|endoftext|>")  # in a text they are these tokens themselves
WORD = regex.compile(
    r"<\|(?:start|end)oftext\|>|'(?:s|t|re|ve|m|ll|d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)

Pair = tuple[str, str]


def _letters() -> dict[int, str]:
    """A visible letter for every byte, as in GPT-2's code: those that are visible are their own."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in visible]
    return {b: chr(b) for b in visible} | {b: chr(256 + i) for i, b in enumerate(others)}


LETTERS = _letters()


def words(text: str) -> list[str]:
    """The text mended by ftfy (wrongly decoded letters, curly quotes, ligatures, control
    characters), without HTML's entities and in lower case, cut at its spaces into runs of letters,
    single digits, runs of other marks, the endings 's, 't, 're, 've, 'm, 'll, 'd, and SPECIAL."""
    import ftfy  # a tenth of a second, which only a text is worth

    return WORD.findall(html.unescape(html.unescape(ftfy.fix_text(text))).lower())


def _symbols(word: str) -> tuple[str, ...]:
    letters = [LETTERS[byte] for byte in word.encode()]
    return (*letters[:-1], letters[-1] + END)


def _merged(symbols: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    """Every occurrence of the pair made one symbol, from the left."""
    found, i = [], 0
    while i < len(symbols):
        both = symbols[i : i + 2] == pair
        found.append("".join(pair) if both else symbols[i])
        i += 1 + both
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class Tokens:
    """From a caption to its numbers: int32 [context], those of the whole batch `text` [B, L]."""

    merges: tuple[Pair, ...]
    context: int = 77

    def __post_init__(self):
        if self.context < 3:
            raise UserError(f"a context of {self.context} tokens holds no word; use 3 or more")

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return 2 * len(LETTERS) + len(self.merges) + 2

    @functools.cached_property
    def _ranks(self) -> dict[Pair, int]:
        return {pair: i for i, pair in enumerate(self.merges)}

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        letters = list(LETTERS.values())  # in the published order
        symbols = [*letters, *(x + END for x in letters), *map("".join, self.merges)]
        return {symbol: i for i, symbol in enumerate(symbols)}

    @functools.cached_property
    def _told(self) -> list[str]:
        """The first text that was cut off."""
        return []

    @functools.cached_property
    def _known(self) -> dict[str, list[int]]:
        return {name: [self.size - 2 + i] for i, name in enumerate(SPECIAL)}

    def word(self, word: str) -> list[int]:
        """The numbers of one word."""
        if word not in self._known:
            symbols, last = _symbols(word), len(self.merges)
            while len(symbols) > 1:
                pair = min(itertools.pairwise(symbols), key=lambda p: self._ranks.get(p, last))
                if pair not in self._ranks:
                    break
                symbols = _merged(symbols, pair)
            self._known[word] = [self._numbers[symbol] for symbol in symbols]
        return self._known[word]

    def __call__(self, caption: str) -> np.ndarray:
        """int32 [context]; a text that is too long loses its last words, not its end, and the first
        such text is told of."""
        body = [number for word in words(caption) for number in self.word(word)]
        if len(body) > self.context - 2 and not self._told:
            self._told.append(caption)
            start = caption if len(caption) <= 60 else f"{caption[:57]}..."
            say(
                f'"{start}" has {len(body) + 2} tokens with its start and end, of which the first '
                f"{self.context - 1} and the end are read: the context is {self.context}. Other "
                "texts that are too long are cut off, too"
            )
        whole = [self.size - 2, *body[: self.context - 2], self.size - 1]
        return np.array(whole + [0] * (self.context - len(whole)), np.int32)

    def save(self, path: Path) -> None:
        """Writes the merges as `read` reads them."""
        lines = ["#version: jaxgen", *map(" ".join, self.merges)]
        with replacing(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def learn(captions: Iterable[str], merges: int, context: int = 77) -> Tokens:
    """Up to `merges` merges: of the commonest pair of neighbours in the captions' words, again and
    again; of equally common ones the first by their letters. Pairs that stand once do not merge."""
    counts = collections.Counter(word for caption in captions for word in words(caption))
    for name in SPECIAL:
        counts.pop(name, None)
    parts = {word: _symbols(word) for word in sorted(counts)}
    common: collections.Counter[Pair] = collections.Counter()
    where: dict[Pair, set[str]] = collections.defaultdict(set)

    def count(word, sign):
        for pair in itertools.pairwise(parts[word]):
            common[pair] += sign * counts[word]
            where[pair].add(word)

    for word in parts:
        count(word, 1)
    learned: list[Pair] = []
    while len(learned) < merges and common:
        pair = min(common, key=lambda p: (-common[p], p))
        if common[pair] < 2:
            break
        learned.append(pair)
        for word in where.pop(pair):
            count(word, -1)
            parts[word] = _merged(parts[word], pair)
            count(word, 1)
        common = +common  # none that are gone
    return Tokens(tuple(learned), context)


def read(path: Path, context: int = 77, merges: int = PUBLISHED) -> Tokens:
    """The first `merges` merges of a file, plain or .gz. Raises UserError."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except FileNotFoundError:
        raise UserError(f"vocabulary {path} does not exist; name a file of merges") from None
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"vocabulary {path} cannot be read: {error}") from None
    lines = text.removesuffix("\n").split("\n")[1 : 1 + merges]
    pairs = tuple(tuple(line.split(" ")) for line in lines)
    if not all(len(pair) == 2 for pair in pairs):
        bad = next(i for i, pair in enumerate(pairs, start=2) if len(pair) != 2)
        raise UserError(f"vocabulary {path}, line {bad} is not two symbols with a space between")
    made = Tokens(pairs, context)
    known = made._numbers.keys()
    for i, pair in enumerate(pairs, start=2):
        if not known >= set(pair):
            raise UserError(f"vocabulary {path}, line {i} merges what is no symbol")
    return made
