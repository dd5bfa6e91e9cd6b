"""Which tokens may come next, so that every marker is a true one: chat/adllm/guidance.py, told token by token.

Between markers nearly every token may come, so a step costs little there; within one, only what leads to the end of a
candidate's marker. Knows tokens and markers, no models.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import torch
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

SIGN, BRACKET, CLOSE = b"@", b"[", b"]"
_UNSURE = b"[A"  # the begin of a stray id


class TokenTable:
    """A tokenizer's tokens by their bytes. Raises ValueError for one that does not code bytes, as Qwen's does."""

    def __init__(self, tok: PreTrainedTokenizerBase) -> None:
        byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
        added = {number: token.content.encode() for number, token in tok.added_tokens_decoder.items()}
        self.by_bytes: dict[bytes, list[int]] = defaultdict(list)
        self.bytes_of: dict[int, bytes] = {}
        for text, number in tok.get_vocab().items():
            if number in tok.all_special_ids:
                continue  # says nothing, such as the end of the answer
            if number not in added and not all(letter in byte_of for letter in text):
                raise ValueError(f"{text!r} is no token of bytes: this tokenizer's answers cannot be guided")
            known = added.get(number) or bytes(byte_of[letter] for letter in text)
            self.bytes_of[number] = known
            self.by_bytes[known].append(number)
        self.longest = max(map(len, self.by_bytes))
        self.closing: dict[bytes, list[int]] = defaultdict(list)  # by all up to the bracket; free text behind it
        forbidden, after_bracket = [], []
        for number, known in self.bytes_of.items():
            head, close, rest = known.partition(CLOSE)
            if close and rest and SIGN not in known and _is_free(rest):
                self.closing[head + close].append(number)
            if not _is_free(known):
                forbidden.append(number)
            if known.startswith(_UNSURE[1:]):
                after_bracket.append(number)
        self.forbidden = torch.tensor(forbidden, dtype=torch.long)  # in free text
        self.after_bracket = torch.tensor(after_bracket, dtype=torch.long)  # besides, where a bracket was opened


def _is_free(known: bytes) -> bool:
    """May the token stand in free text? An at sign only as its last character, where a marker begins."""
    return SIGN not in known[:-1] and _UNSURE not in known


@lru_cache(maxsize=4)
def token_table(tok: PreTrainedTokenizerBase) -> TokenTable:
    """Kept, since it takes a while for a large vocabulary."""
    return TokenTable(tok)


class MarkerGuide:
    """One answer while it is written, over the markers of its auction."""

    def __init__(self, table: TokenTable, markers: Sequence[bytes]) -> None:
        """`markers` as they are written, without the at sign that opens them."""
        self.table, self._markers = table, markers
        self._written: bytes | None = None  # of a marker that is open
        self.bracket = False  # did the last token of free text open one?

    def add(self, token: int) -> None:
        """Take what was written. Never an error: what a model wrote unguided is read as well as it can be."""
        known = self.table.bytes_of.get(token)
        if known is None:
            return
        if self._written is None:
            self.bracket = known.endswith(BRACKET)
            self._written = b"" if known.endswith(SIGN) and self._markers else None
            return
        self._written += known
        if CLOSE in known:
            self._written, self.bracket = None, known.endswith(BRACKET)
        elif not any(text.startswith(self._written) for text in self._markers):
            self._written = None

    def allowed(self) -> list[int] | None:
        """The tokens that may come next within a marker; None in free text, where all but a few may."""
        if self._written is None:
            return None
        height, found = len(self._written), set()
        for rest in {text[height:] for text in self._markers if text.startswith(self._written)}:
            for length in range(1, min(len(rest), self.table.longest) + 1):
                found.update(self.table.by_bytes.get(rest[:length], ()))
            found.update(self.table.closing.get(rest, ()))
        return sorted(found)


def constrain(scores: torch.Tensor, guides: Sequence[MarkerGuide]) -> None:
    """Set the scores (B, V) of what may not come to minus infinity, in place. One guide a row, all of one table."""
    table = guides[0].table
    within = [(row, torch.tensor(found)) for row, guide in enumerate(guides) if (found := guide.allowed()) is not None]
    kept = [scores[row, found.to(scores.device)] for row, found in within]
    scores[:, table.forbidden.to(scores.device)] = -torch.inf
    brackets = [row for row, guide in enumerate(guides) if guide.bracket]
    if brackets:
        rows = torch.tensor(brackets, device=scores.device)
        scores[rows[:, None], table.after_bracket.to(scores.device)] = -torch.inf
    for (row, found), values in zip(within, kept, strict=True):
        scores[row] = -torch.inf
        scores[row, found.to(scores.device)] = values


def written_markers(markers: Sequence[str]) -> list[bytes]:
    """What MarkerGuide takes."""
    return [text.removeprefix("@").encode() for text in markers]
