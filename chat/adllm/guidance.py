"""The grammar of an answer in which every marker is a true one, for servers that keep a model to a grammar.

Outside of markers an answer holds no at sign, and no bracket before a capital A, where an id could stray. So what the
grammar lets through has none of markup's errors in ads and ids, unless it is cut off. The model still chooses which
ads it shows, where, how many, or none. Knows neither engines nor tokens (training/simulation/guidance.py does).
"""

import json
from collections.abc import Iterable

from campaigns.auction.candidates import Candidate


def marker(candidate: Candidate) -> str:
    """What a model writes to show the ad."""
    return f"@{candidate.title}@[{candidate.ad_id}]"


def answer_grammar(markers: Iterable[str]) -> str:
    """In GBNF, as xgrammar and so vLLM take it (`structured_outputs`). Rules and not alternatives of characters, so
    that the masks of free text can be kept: microseconds a token instead of milliseconds.
    """
    ads = " | ".join(json.dumps(text[1:], ensure_ascii=False) for text in markers)
    return (
        r"root ::= [^@\[]* tail" + "\n"
        r'tail ::= "" | "[" bracket' + (' | "@" ad root' if ads else "") + "\n"
        r'bracket ::= "[" bracket | [^@\[A] root' + (f"\nad ::= {ads}" if ads else "")
    )
