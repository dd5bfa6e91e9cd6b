"""Parse the ads `@Ad Title@[Ad-1234]` out of an answer, whole or while it streams, and say what a format error is.

Knows nothing of Django, of money or of HTML. It is the one definition of "an ad is shown" and of "a format error" for
serving, for rendering and for the reward (Eq. 8). A marker counts only if its id and its title, compared in Unicode
NFC, are those of one candidate of this auction; the title shown is the candidate's own.

What is written                 What is shown                        Counted as
`@Mug@[Ad-7]`                   the ad                               an ad; N_ad grows
`@Mug@[Ad-7]` once more         the ad, `first=False`                nothing: N_ad counts distinct ads
`@Mug@[Ad-7]`, cap reached      its title as text                    over_cap
`@Mug@[Ad-999]`                 its title as text                    unknown_id
`@mug@[Ad-7]`                   its title as text                    wrong_title
`@Mug@[Ad-7`  `@Mug@ [Ad-7]`    its title as text                    half_marker
`@Mug` where the answer ends    its title as text                    half_marker
`@Mug@ is`  `@Mug is`           its title as text                    missing_id (only titles of this auction)
`[Ad-7]`  `@[Ad-7]`             nothing                              stray_id
`{"Ad ID": ...` or `"Ad Bid"`   nothing, to the end of the line      leaked_prompt (bids are competitors' secrets)
`a@b.com`  `@alice`  `[1]`      what is written                      nothing

So what is wrong is shown without the marker's signs, and what is merely an at sign is shown as it stands. The reward
passes `max_ads=len(candidates)`: N_ad then counts all the ads the model wrote, and over_cap cannot happen.

Work is bounded: at most MAX_SIGNS places of an answer are looked at, each with a bounded look ahead. What follows them
is dropped and counted as endless, since no answer of 2,048 tokens (App. B.2.1) holds so many.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from campaigns.auction.candidates import Candidate

MAX_TITLE = 120  # characters between the two at signs; the market allows 80, a decomposed accent takes two
MAX_ID = 32
MAX_HELD = MAX_TITLE + MAX_ID + 5  # the most that is ever held back: `@` title `@ [` id
MAX_SIGNS = 2500


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class AdMention:
    """One ad in the answer. `first` is False where the same ad is named again: still one impression."""

    ad_id: str
    title: str
    first: bool


Segment = Text | AdMention


class FormatError(StrEnum):
    half_marker = "half_marker"  # a marker begun and not closed
    missing_id = "missing_id"  # a candidate's title after @, with no id
    stray_id = "stray_id"  # an id with no title before it
    unknown_id = "unknown_id"  # whole marker, but no candidate of this auction has the id
    wrong_title = "wrong_title"  # whole marker, but the title is not that of the id
    over_cap = "over_cap"  # whole and true, but the answer already shows max_ads ads
    leaked_prompt = "leaked_prompt"  # a line of the candidate list, cut
    endless = "endless"  # MAX_SIGNS reached, the rest is dropped


@dataclass(frozen=True)
class Parsed:
    segments: tuple[Segment, ...]
    errors: Counter[FormatError]

    @property
    def ads(self) -> tuple[str, ...]:
        """Ids of the ads shown, each once, in the order of their first mention."""
        return tuple(s.ad_id for s in self.segments if isinstance(s, AdMention) and s.first)

    @property
    def n_ads(self) -> int:
        """N_ad of Eq. 8: how many different ads does the answer show?"""
        return len(self.ads)


_INNER = r"[^@\[\]\r\n]"
_ID = "Ad-[0-9]"
_ATS = re.compile("@+")
_TITLE = re.compile(rf"@({_INNER}{{0,{MAX_TITLE}}})")
_MARKER = re.compile(rf"@({_INNER}{{1,{MAX_TITLE}}}+)@\[({_INNER}{{1,{MAX_ID}}}+)\]")
_BROKEN = re.compile(rf"@({_INNER}{{1,{MAX_TITLE}}}+)@ ?\[(?:{_INNER}{{0,{MAX_ID}}}+\]|{_ID}{{0,28}}+)?")
_STRAY = re.compile(rf"@?\[{_ID}{{1,28}}+\]?")
# The same where the text ends too early to tell.
_OPEN_MARKER = re.compile(rf"@({_INNER}{{0,{MAX_TITLE}}}+)(?:@(?: ?(\[{_INNER}{{0,{MAX_ID}}}+)?)?)?\Z")
_OPEN_STRAY = re.compile(rf"@?\[{_ID}{{0,28}}+\Z")

# A key of the candidate list's JSON lines, or the begin of a stray id. "Ad" in front keeps the search fast.
_AD_SIGN = re.compile(r"""Ad(?:(?<=["']Ad) (?:ID|Title|Bid)["']|(?<=\[Ad)-)""")
_KEYS = [brace + q + key + q for brace in ("", "{") for q in "\"'" for key in ("Ad ID", "Ad Title", "Ad Bid")]
_BEGINS = {sign[:n] for sign in ("[Ad-", "@[Ad-", *_KEYS) for n in range(1, len(sign))}
_OPEN_SIGN = re.compile("(?:" + "|".join(re.escape(b) for b in sorted(_BEGINS, key=len, reverse=True)) + r")\Z")
_LONGEST_BEGIN = max(map(len, _BEGINS))
_MAY_BEGIN = re.compile(r"""[@A\[{"']""")  # without one of these, nothing begins


def _begin(held: str, ad: re.Match[str]) -> int:
    """Where the sign around this "Ad" begins: at its bracket, at its quote, or at the brace before that."""
    begin = ad.start() - 1
    return begin - (held[begin] != "[" and held[begin - 1] == "{")


class Parser:
    """Takes an answer in pieces of any size. Neither the segments, once joined, nor the errors depend on the pieces."""

    def __init__(self, candidates: Sequence[Candidate], *, max_ads: int = 5) -> None:
        self.errors: Counter[FormatError] = Counter()
        self._titles = {c.ad_id: c.title for c in candidates}
        self._known = set(self._titles.values())
        self._lengths = sorted({len(title) for title in self._known}, reverse=True)
        self._max_ads = max_ads
        self._shown: set[str] = set()
        self._signs = 0
        # What is not yet decided, behind the last character that was: what stands before a sign matters.
        self._held = "\n"
        self._cutting = False  # inside a leaked line

    def feed(self, text: str) -> list[Segment]:
        """The segments that are certain now."""
        nothing_begun = len(self._held) == 1 and not self._cutting and self._signs < MAX_SIGNS
        if nothing_begun and text and not _MAY_BEGIN.search(text):  # most pieces: a short cut
            self._held = text[-1]
            return [Text(text)]
        return joined(self._advance(text, final=False))

    def finish(self) -> list[Segment]:
        """The rest. Nothing may be fed afterwards."""
        return joined(self._advance("", final=True))

    def _advance(self, text: str, *, final: bool) -> list[Segment]:
        held, at, out = self._held + text, 1, []
        next_at = next_ad = -1  # where the next signs stand; looked for again only once they are passed
        while at < len(held) and self._signs < MAX_SIGNS:
            # 1) A leaked line is cut up to its end.
            if self._cutting:
                end = held.find("\n", at)
                self._cutting = end < 0
                at = len(held) if end < 0 else end
                continue

            # 2) Text up to the next sign, or up to what may become one.
            if next_at < at:
                run = _ATS.search(held, at)
                next_at = run.end() - 1 if run else len(held)  # of @@@@ only the last can open a marker
            if next_ad < at:
                ad = _AD_SIGN.search(held, at)
                next_ad = _begin(held, ad) if ad else len(held)
            sign = min(next_at, max(at, next_ad))
            begin = _OPEN_SIGN.search(held, max(at, sign - _LONGEST_BEGIN)) if sign == len(held) and not final else None
            stop = begin.start() if begin else sign
            out.append(Text(held[at:stop]))
            at = stop
            if sign == len(held):
                break

            # 3) The sign itself: take it, or wait for more.
            is_at = at == next_at
            taken = self._take_at(held, at, final=final) if is_at else self._take_ad(held, at, ad, final=final)
            if taken is None:
                break
            at, segment = taken
            out.append(segment)
            self._signs += 1
        if self._signs >= MAX_SIGNS and at < len(held):
            self.errors[FormatError.endless] = 1
            at = len(held)
        self._held = held[at - 1 :]
        return out

    def _take_ad(self, held: str, at: int, ad: re.Match[str], *, final: bool) -> tuple[int, Segment] | None:
        """What the "Ad" in `ad` belongs to, a leaked key or an id, and where that ends. None: too early to tell."""
        if held[ad.start() - 1] != "[":
            self._cutting = True
            return self._error(FormatError.leaked_prompt, ad.end(), "")
        opened = _OPEN_STRAY.match(held, at)
        if opened and not final:
            return None
        if stray := _STRAY.match(held, at) or opened:
            return self._error(FormatError.stray_id, stray.end(), "")
        return ad.end(), Text(held[at : ad.end()])  # as in [Ad-hoc]

    def _take_at(self, held: str, at: int, *, final: bool) -> tuple[int, Segment] | None:
        """What the at sign at `at` begins, and where that ends. None: the text ends too early to tell."""
        marker = _MARKER.match(held, at)
        if marker and not _AD_SIGN.search(marker[1]):
            return marker.end(), self._whole_marker(ad_id=marker[2], title=marker[1])
        opened = _OPEN_MARKER.match(held, at)
        stray = _OPEN_STRAY.match(held, at) or _OPEN_SIGN.match(held, at)
        if not final and (opened or stray):
            return None
        title = _TITLE.match(held, at)[1]
        after_word = held[at - 1].isalnum()  # as in a@b.com
        if not _AD_SIGN.search(title):
            if title and opened and opened[2]:
                return self._error(FormatError.half_marker, len(held), title)
            if opened and not after_word and any(known.startswith(title) for known in self._known):
                return self._error(FormatError.half_marker, len(held), title)
            if broken := _BROKEN.match(held, at):
                return self._error(FormatError.half_marker, broken.end(), title)
            if not after_word and (known := self._known_title(title)):
                end = at + 1 + len(known)
                closed = held[end : end + 1] == "@" and not held[end + 1 : end + 2].isalnum()
                return self._error(FormatError.missing_id, end + closed, known)
        if held[at + 1 : at + 2] == "[" and (stray := _STRAY.match(held, at) or stray):
            return self._error(FormatError.stray_id, stray.end(), "")
        return at + 1, Text("@")

    def _whole_marker(self, *, ad_id: str, title: str) -> Segment:
        own = self._titles.get(ad_id)
        if own is None:
            error = FormatError.unknown_id
        elif unicodedata.normalize("NFC", own) != unicodedata.normalize("NFC", title):
            error = FormatError.wrong_title
        elif ad_id in self._shown:
            return AdMention(ad_id, own, first=False)
        elif len(self._shown) >= self._max_ads:
            error = FormatError.over_cap
        else:
            self._shown.add(ad_id)
            return AdMention(ad_id, own, first=True)
        self.errors[error] += 1
        return Text(title)

    def _known_title(self, text: str) -> str:
        """The longest title of this auction that `text` begins with, as a whole word; "" if there is none."""
        for length in self._lengths:
            if text[:length] in self._known and not text[length : length + 1].isalnum():
                return text[:length]
        return ""

    def _error(self, error: FormatError, end: int, shown: str) -> tuple[int, Segment]:
        self.errors[error] += 1
        return end, Text(shown)


def parse(text: str, candidates: Sequence[Candidate], *, max_ads: int = 5) -> Parsed:
    """The whole answer at once: the same as feeding it in pieces."""
    parser = Parser(candidates, max_ads=max_ads)
    segments = joined([*parser.feed(text), *parser.finish()])
    return Parsed(tuple(segments), parser.errors)


def joined(segments: Iterable[Segment]) -> list[Segment]:
    """The same segments with neighbouring texts made one and empty ones dropped."""
    out: list[Segment] = []
    texts: list[str] = []
    for segment in segments:
        if isinstance(segment, Text):
            texts.append(segment.text)
            continue
        if whole := "".join(texts):
            out.append(Text(whole))
        texts.clear()
        out.append(segment)
    if whole := "".join(texts):
        out.append(Text(whole))
    return out
