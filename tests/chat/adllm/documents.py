"""Answers as a careless or hostile model writes them, from a seeded grammar. Used by the markup and rendering tests."""

import random

from campaigns.auction.candidates import Candidate

CANDIDATES = (
    Candidate("Ad-7", "Mug", 41_000_000),
    Candidate("Ad-12", "Mug Deluxe", 73_519_000),
    Candidate("Ad-1002", "Rival Shoes", 5_000_000),
    Candidate("Ad-3", "Café Noël", 12_000_000),
    Candidate("Ad-4", 'Say "Hi" Card', 9_000_000),
    Candidate("Ad-5", "Lamp & Co.", 8_000_000),
    Candidate("Ad-6", "東京の靴", 8_000_000),
    Candidate("Ad-8", "a", 8_000_000),
)
GOOD = tuple(f"@{c.title}@[{c.ad_id}]" for c in CANDIDATES)

# fmt: off
# Pieces of markers and what looks like them.
MARKS = (
    *GOOD,
    "@", "@@", "@@@", "[", "]", "[]", "@[", "@@[", "@[]", "][", "Mug", "a", "[Ad", "[Ad-", "[Ad-1", "[Ad-12]",
    "@[Ad-7]", "@[A", "@[Ad-hoc]", "[Ad-hoc]", "Ad-7", "Ad-", "Ad",
    "@Mug", "@Mug@", "@Mug@[", "@Mug@[A", "@Mug@[Ad-", "@Mug@[Ad-1", "@Mug@[Ad-7", "@Mug@ [Ad-7]", "@Mug [Ad-7]",
    "@mug@[Ad-7]", "@Mug @[Ad-7]", "@Mug@[ad-7]", "@Mug@[Ad-12]", "@Mug@[Ad-999]", "@Cafe\u0301 Noe\u0308l@[Ad-3]",
    "@Mug &amp;@[Ad-7]", "@a@b@[Ad-8]", "@x@", "@x@x", "a@b.com", "a@b.com, @", "@alice ", "@a@@", "@Mug@]",
    "@Mug\n@[Ad-7]", "@" + "x" * 119, "@" + "x" * 120 + "@[Ad-7]", "@" + "x" * 121 + "@[Ad-7]", "@Mug@[" + "9" * 33,
    "[Ad-" + "1" * 28, "[Ad-" + "1" * 29 + "]", "@Mug@[" + "9" * 32 + "]", "@Mug Deluxe", "@Mug Delu", "@Mugs@",
)
LEAKS = (
    '{"Ad ID": "Ad-7", "Ad Title": "Mug", "Ad Bid": "41"}\n',
    '{"Ad ID": "Ad-12", "Ad Title": "Mug Deluxe", "Ad Bid": "73.519"}',
    '{"Ad ID"', '"Ad Bid": ', "{'Ad Title'", "'Ad Bid'", '{"Ad ', '{"', "{", '"', "'", '"Ad', '"Ad Bi', "Ad Bid", "{{",
    '"Ad Title" ', '@{"Ad Bid": "73.519"}@[Ad-7]', '@"Ad Bid"', '@Say "Ad Bid"', '"Ad ID', "d ID", ' Bid"', "Ad ID",
)
PLAIN = (
    "Water the balcony early. ", "x", " ", "\n", "\n\n", "\r\n", "é", "e\u0301", "\u0301", "靴", "\u202e", ".", ",",
)
MARKDOWN = (
    "**", "*", "_", "`", "``", "```", "```\n", "```py\n", "# ", "## ", "- ", "1. ", "> ", "    ", "\t", "---\n", "***",
    "| a | b |\n|---|---|\n", "| ", " |\n", "~~", "![", "](", ")", "<", ">", "&", "&#", ";", "\\", "\\@", "![x](y)",
    "[x](javascript:alert(1))", "<https://evil.example>", "https://evil.example", "[r]: https://evil.example\n", "[r]",
    "&#xE000;", "&#57344;", "&#x202e;", "&lt;script&gt;", "<script>", "</p>", '<a href="//evil.example">', "<img src=x",
    "\ue000", "\ue001", "\uf8ff", "\U000f0000", "\u2066", "\u200b", "\x00", "\x1b", "\ud800", "\ufffe", "{", "}", "$$",
)
# fmt: on


def document(rng: random.Random, *, pieces: tuple[str, ...] = (), most: int = 24) -> str:
    """One answer. Marker pieces come twice as often as the rest."""
    groups = (MARKS, MARKS, LEAKS, PLAIN, *([pieces] if pieces else []))
    return "".join(rng.choice(rng.choice(groups)) for _ in range(rng.randint(1, most)))
