"""How an answer reads: its sentences, where each ad stands, what stands next to it, how much of it is ad talk.

Knows nothing of users. What counts as a shown ad is chat/adllm/markup's business; N_ad counts all of them (Eq. 8).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from campaigns.auction.candidates import Candidate
from chat.adllm import markup
from training.dataset.records import Ad, Exposure

# Hard sell: the words around an ad that give it away as one. The ad's own title does not count.
PUSHY = tuple(
    re.compile(cue, re.IGNORECASE)
    for cue in (
        r"\b(buy|order|shop|act|call|subscribe|grab|hurry)\b.{0,40}\bnow\b",
        r"\b(buy|get|order|grab)\b.{0,40}\btoday\b",
        r"\b(special|limited|exclusive|best|unbeatable) (time )?(offer|deal|price)s?\b",
        r"\b(on sale|discount|half price|money back|free shipping|\d+ ?% off|clearance|bargain)\b",
        r"\b(do not|don't|never) miss\b",
        r"\b(sponsored|advertisement|promoted|promotion|our partners?)\b",
        r"\b(hurry|last chance|while stocks? lasts?|only today|must[- ]have|you need this)\b",
        r"\b(click|tap) (here|the link|this link|on the link|now)\b",
    )
)
# The Ad-LLM speaking of its task instead of answering: ad talk, with or without an ad (App. B.1, requirement 3).
ABOUT_ADS = re.compile(
    r"\b(candidate ads?|ad list|ad ids?|ad titles?|ad bids?|ad insertion|insert(ed|ing)? (an |the )?ads?|highest bid|"
    r"advertis\w+|sponsored)\b",
    re.IGNORECASE,
)

_MARK = "\ue000"  # a private character stands for each ad while sentences are cut: titles may hold full stops
_END = re.compile(r"(?<=[.!?…])[\"')*_]*\s+")
_PARTS = re.compile(r"(?:\d{1,2}[.)]\s+)?\S.*?(?:[.!?…][\"')*_]*(?:\s+|$)|$)|^\s+")  # a line's, spaces kept
_BULLET = re.compile(r"^[\s>*#•\-–—]*(\d{1,2}[.)](\s+|$))?[\s*_]*")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class PlacedAd:
    """A shown ad at its first mention. `before` and `after` are the nearest sentences without ads, or empty.

    `place` is where its sentence stands: 0 is the answer's first, 1 its last (and 0 where there is only one).
    """

    ad_id: str
    sentence: str  # the marker replaced by the title
    before: str
    after: str
    pushy: bool
    place: float


@dataclass(frozen=True)
class Reading:
    """`ad_talk`: the share of the answer's words that stand in sentences about ads. `rest`: all other sentences."""

    ads: tuple[PlacedAd, ...]
    ad_talk: float
    rest: str


def readings(exposures: Sequence[Exposure], ads: Mapping[str, Ad]) -> list[Reading]:
    """Read many answers, in order. Fast where answers that share an auction stand together."""
    found: list[Reading] = []
    auction, candidates = None, []
    for exposure in exposures:
        if exposure.auction is not auction:
            auction, candidates = exposure.auction, exposure.auction.candidates(ads)
        found.append(read(exposure.response.text, candidates))
    return found


def read(text: str, candidates: Sequence[Candidate]) -> Reading:
    """Read an answer as its user would see it."""
    parsed = markup.parse(text, candidates, max_ads=len(candidates))
    mentions = [segment for segment in parsed.segments if isinstance(segment, markup.AdMention)]
    if not mentions:
        return Reading((), 0.0, text)
    shown = _marked(parsed)
    shown = shown.replace("**", "")  # Markdown's signs are not read
    # 1) Sentences, and which of them speak of ads: by a marker, by a candidate's bare title, or of the task itself.
    named = [c.title for c in candidates if c.title in shown]
    marked = [_BULLET.sub("", part, count=1).strip() for line in shown.splitlines() for part in _END.split(line)]
    marked = [part for part in marked if _LETTER.search(part) or _MARK in part]
    is_ad = [_MARK in part or bool(ABOUT_ADS.search(part)) or any(title in part for title in named) for part in marked]
    remaining = iter(mentions)
    told = [[next(remaining) for _ in range(part.count(_MARK))] for part in marked]
    sentences = [_with_titles(part, [ad.title for ad in ads]) for part, ads in zip(marked, told, strict=True)]
    # 2) The ads, each at its first mention, with their neighbours.
    placed = []
    for at, ads in enumerate(told):
        for ad in ads:
            if ad.first:
                before = next((sentences[n] for n in range(at - 1, -1, -1) if not is_ad[n]), "")
                after = next((sentences[n] for n in range(at + 1, len(sentences)) if not is_ad[n]), "")
                pushy = any(cue.search(marked[at]) for cue in PUSHY)
                place = at / max(1, len(sentences) - 1)
                placed.append(PlacedAd(ad.ad_id, sentences[at], before, after, pushy, place))
    # 3) The share of ad talk, in words.
    words = [len(sentence.split()) for sentence in sentences]
    talk = sum(count for count, ad in zip(words, is_ad, strict=True) if ad)
    rest = " ".join(sentence for sentence, ad in zip(sentences, is_ad, strict=True) if not ad)
    return Reading(tuple(placed), talk / max(1, sum(words)), rest)


def without_ads(text: str, candidates: Sequence[Candidate]) -> str:
    """The answer less every sentence that shows an ad; empty where nothing else is said."""
    shown = _marked(markup.parse(text, candidates, max_ads=len(candidates)))
    lines = []
    for line in shown.split("\n"):
        kept = "".join(part for part in _PARTS.findall(line) if _MARK not in part).rstrip()
        if kept != line and not _LETTER.search(_BULLET.sub("", kept, count=1)):
            continue  # nothing of it is left, but perhaps its number
        lines.append(kept)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _marked(parsed: markup.Parsed) -> str:
    """What is shown, each ad a single character."""
    return "".join(_MARK if isinstance(s, markup.AdMention) else s.text.replace(_MARK, " ") for s in parsed.segments)


def _with_titles(part: str, titles: list[str]) -> str:
    pieces = part.split(_MARK)
    return "".join(word for pair in zip(pieces, [*titles, ""], strict=True) for word in pair)
