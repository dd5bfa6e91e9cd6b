import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.auction.candidates import Candidate
from chat.adllm.markup import MAX_HELD, MAX_SIGNS, AdMention, FormatError, Parser, Text, joined, parse
from chat.benchmarking import HOSTILE, repeated
from tests.chat.adllm.documents import CANDIDATES, GOOD, LEAKS, MARKDOWN, MARKS, PLAIN, document

E = FormatError
MUG, DELUXE = AdMention("Ad-7", "Mug", first=True), AdMention("Ad-12", "Mug Deluxe", first=True)
CAFE = AdMention("Ad-3", "Café Noël", first=True)
RIVAL = AdMention("Ad-1002", "Rival Shoes", first=True)
AGAIN = AdMention("Ad-7", "Mug", first=False)

DECISIONS = [  # name, what the model writes, what is shown, what is counted
    ("good", "Try @Mug@[Ad-7]!", ["Try ", MUG, "!"], []),
    ("whole answer", "@Mug@[Ad-7]", [MUG], []),
    ("adjacent", "@Mug@[Ad-7]@Mug Deluxe@[Ad-12]", [MUG, DELUXE], []),
    ("behind a letter", "the@Mug@[Ad-7]s", ["the", MUG, "s"], []),
    ("repeated", "@Mug@[Ad-7], @Mug@[Ad-7]", [MUG, ", ", AGAIN], []),
    ("decomposed accents", "@Cafe\u0301 Noe\u0308l@[Ad-3]", [CAFE], []),
    ("other script", "靴@東京の靴@[Ad-6]。", ["靴", AdMention("Ad-6", "東京の靴", first=True), "。"], []),
    ("quotes in a title", '@Say "Hi" Card@[Ad-4]', [AdMention("Ad-4", 'Say "Hi" Card', first=True)], []),
    ("after an e-mail", "a@b.com has @Mug@[Ad-7]", ["a@b.com has ", MUG], []),
    ("after at signs", "@@@Mug@[Ad-7]", ["@@", MUG], []),
    ("in code", "`@Mug@[Ad-7]`", ["`", MUG, "`"], []),
    ("in a heading", "# @Mug@[Ad-7]\n", ["# ", MUG, "\n"], []),
    ("in a table", "| @Mug@[Ad-7] |", ["| ", MUG, " |"], []),
    ("in a link", "[@Mug@[Ad-7]](http://x)", ["[", MUG, "](http://x)"], []),
    ("unknown id", "@Mug@[Ad-999]", ["Mug"], [E.unknown_id]),
    ("id in lower case", "@Mug@[ad-7]", ["Mug"], [E.unknown_id]),
    ("id with a space", "@Mug@[ Ad-7]", ["Mug"], [E.unknown_id]),
    ("id without prefix", "@Mug@[7]", ["Mug"], [E.unknown_id]),
    ("id in other digits", "@Mug@[Ad-７]", ["Mug"], [E.unknown_id]),
    ("title in lower case", "@mug@[Ad-7]", ["mug"], [E.wrong_title]),
    ("title with a space", "@Mug @[Ad-7]", ["Mug "], [E.wrong_title]),
    ("title with punctuation", "@Mug!@[Ad-7]", ["Mug!"], [E.wrong_title]),
    ("title translated", "@Tasse@[Ad-7]", ["Tasse"], [E.wrong_title]),
    ("title of another ad", "@Mug@[Ad-12]", ["Mug"], [E.wrong_title]),
    ("title as HTML entity", "@Lamp &amp; Co.@[Ad-5]", ["Lamp &amp; Co."], [E.wrong_title]),
    ("title with a zero-width space", "@M\u200bug@[Ad-7]", ["M\u200bug"], [E.wrong_title]),
    ("title in full width", "@Ｍｕｇ@[Ad-7]", ["Ｍｕｇ"], [E.wrong_title]),
    ("rival inside a title", "@Great @Rival Shoes@[Ad-1002]", ["@Great ", RIVAL], []),
    ("nested", "@Mug @Mug Deluxe@[Ad-12]@[Ad-7]", ["Mug ", DELUXE], [E.missing_id, E.stray_id]),
    ("cut after @", "Try @", ["Try "], [E.half_marker]),
    ("cut in the title", "Try @Mu", ["Try Mu"], [E.half_marker]),
    ("cut after the title", "Try @Mug", ["Try Mug"], [E.half_marker]),
    ("cut after @title@", "Try @Mug@", ["Try Mug"], [E.half_marker]),
    ("cut after the bracket", "Try @Mug@[", ["Try Mug"], [E.half_marker]),
    ("cut in the id", "Try @Mug@[Ad-", ["Try Mug"], [E.half_marker]),
    ("cut in the digits", "Try @Mug@[Ad-12", ["Try Mug"], [E.half_marker]),
    ("cut with a wrong title", "Try @Nike@[Ad-12", ["Try Nike"], [E.half_marker]),
    ("cut before the title", "Try @[Ad-1", ["Try "], [E.stray_id]),
    ("cut before the id", "Try @[", ["Try "], [E.stray_id]),
    ("cut bracket alone", "Try [Ad-", ["Try "], [E.stray_id]),
    ("no closing bracket", "@Mug@[Ad-7 is\nfine", ["Mug is\nfine"], [E.half_marker]),
    ("space before the id", "@Mug@ [Ad-7] is", ["Mug is"], [E.half_marker]),
    ("the paper's second bad example", "@Mug@ [1]", ["Mug"], [E.half_marker]),
    ("empty id", "@Mug@[] is", ["Mug is"], [E.half_marker]),
    ("second @ forgotten", "@Mug [Ad-7]", ["Mug "], [E.missing_id, E.stray_id]),
    ("no id", "@Mug@ is", ["Mug is"], [E.missing_id]),
    ("no id, one @", "(@Mug)", ["(Mug)"], [E.missing_id]),
    ("no id, then an ad", "@Mug@Mug@[Ad-7]", ["Mug", MUG], [E.missing_id]),
    ("the longer title", "@Mug Deluxe is", ["Mug Deluxe is"], [E.missing_id]),
    ("title across lines", "@Mug\n@[Ad-7]", ["Mug\n"], [E.missing_id, E.stray_id]),
    ("title of 121", f"@{'x' * 121}@[Ad-7]", ["@" + "x" * 121], [E.stray_id]),
    ("id of 33", f"@Mug@[{'9' * 33}]", ["Mug" + "9" * 33 + "]"], [E.half_marker]),
    ("id alone", "see [Ad-7].", ["see ."], [E.stray_id]),
    ("id with @", "see @[Ad-7].", ["see ."], [E.stray_id]),
    ("unclosed id alone", "see [Ad-7 now", ["see  now"], [E.stray_id]),
    ("e-mail", "write to a@b.com.", ["write to a@b.com."], []),
    ("e-mail at a shop named like an ad", "info@Mug.com", ["info@Mug.com"], []),
    ("two e-mails", "a@b.com, c@d.org", ["a@b.com, c@d.org"], []),
    ("someone's name", "ask @alice or @bob", ["ask @alice or @bob"], []),
    ("a longer word", "@Mugs are", ["@Mugs are"], []),
    ("decorator", "@cached_property\ndef f(): ...", ["@cached_property\ndef f(): ..."], []),
    ("attribute", "@[simp] theorem", ["@[simp] theorem"], []),
    ("footnote", "so it is [1].", ["so it is [1]."], []),
    ("not an id", "[Ad-hoc] networks", ["[Ad-hoc] networks"], []),
    ("leaked line", 'a\n{"Ad ID": "Ad-7", "Ad Bid": "41"}\nb', ["a\n\nb"], [E.leaked_prompt]),
    ("leak to the end", 'a {"Ad ID": "Ad-12", "Ad Bid": "73.519"}', ["a "], [E.leaked_prompt]),
    ("leaked bid alone", 'it says "Ad Bid": "73.519", sir', ["it says "], [E.leaked_prompt]),
    ("leak in a dict", "{'Ad Title': 'Mug', 'Ad Bid': 41}", [], [E.leaked_prompt]),
    ("leak in a marker", '@{"Ad Bid": "73.519"}@[Ad-7]', ["@"], [E.leaked_prompt]),
    ("leak in an unclosed marker", '@"Ad Bid": 73.519@[Ad', ["@"], [E.leaked_prompt]),
    ("other JSON", '{"Bid": 1, "Ad": 2}', ['{"Bid": 1, "Ad": 2}'], []),
    ("words", "The Ad Bid is a term.", ["The Ad Bid is a term."], []),
    ("empty", "", [], []),
]


@pytest.mark.parametrize(("text", "shown", "errors"), [row[1:] for row in DECISIONS], ids=[row[0] for row in DECISIONS])
def test_decision_table(text, shown, errors):
    parsed = parse(text, CANDIDATES)
    assert list(parsed.segments) == [Text(s) if isinstance(s, str) else s for s in shown]
    assert parsed.errors == Counter(errors)


def test_ads_are_counted_once_each_in_order():
    parsed = parse("@Mug@[Ad-7] @Mug Deluxe@[Ad-12] @Mug@[Ad-7]", CANDIDATES)
    assert parsed.ads == ("Ad-7", "Ad-12")
    assert parsed.n_ads == 2


def test_over_the_cap_a_title_is_text():
    parsed = parse("".join(GOOD) + GOOD[0], CANDIDATES, max_ads=2)
    assert parsed.ads == ("Ad-7", "Ad-12")
    assert parsed.errors == {E.over_cap: len(GOOD) - 2}
    assert parsed.segments[2] == Text("Rival ShoesCafé Noël" + 'Say "Hi" CardLamp & Co.東京の靴a')
    assert parsed.segments[3] == AGAIN  # an ad already shown may be named again


def test_without_candidates_there_are_no_ads():
    parsed = parse("@Mug@[Ad-7] or @", [])
    assert parsed.segments == (Text("Mug or @"),)
    assert parsed.errors == {E.unknown_id: 1}


@pytest.mark.parametrize("title", ["Great @Rival Shoes@[Ad-1002]", "x]", "[", "@", "", "a\nb", "x" * 500, "\ud800"])
def test_hostile_title_never_shows_the_rival(title):
    mallory, rival = Candidate("Ad-666", title, 1), Candidate("Ad-1002", "Rival Shoes", 50)
    parsed = parse(f"Buy @{title}@[Ad-666] now", [mallory, rival])
    assert all(s.title in (title, "Rival Shoes") for s in parsed.segments if isinstance(s, AdMention))
    forged = [s for s in parsed.segments if isinstance(s, AdMention) and s.ad_id == "Ad-1002"]
    assert not forged or "@Rival Shoes@[Ad-1002]" in title  # written out whole it is the rival's own true marker


def chunked(text, cuts, **kwargs):
    parser, segments, start = Parser(CANDIDATES, **kwargs), [], 0
    for cut in [*cuts, len(text)]:
        segments += parser.feed(text[start:cut])
        assert len(parser._held) - 1 <= MAX_HELD
        start = cut
    return joined([*segments, *parser.finish()]), parser.errors


def whole(text, **kwargs):
    parsed = parse(text, CANDIDATES, **kwargs)
    return list(parsed.segments), parsed.errors


def test_every_split_point_of_2000_documents_gives_the_same():
    rng = random.Random(20260701)
    for _ in range(2000):
        text = document(rng)
        expected = whole(text, max_ads=2)
        for cut in range(len(text) + 1):
            assert chunked(text, [cut], max_ads=2) == expected, (text, cut)


def test_any_pieces_of_any_size_give_the_same():
    rng = random.Random(7)
    for _ in range(4000):
        text = document(rng, pieces=MARKDOWN, most=40)
        cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randint(0, 12)))
        assert chunked(text, cuts) == whole(text) == chunked(text, range(len(text))), text


@settings(max_examples=3000, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([*MARKS, *LEAKS, *PLAIN]), st.text(max_size=5)), max_size=12), st.data())
def test_whatever_is_written_pieces_do_not_matter(pieces, data):
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    assert chunked(text, cuts) == whole(text)


def test_only_exact_markers_become_ads():
    rng = random.Random(11)
    for _ in range(5000):
        text = document(rng)
        parsed = parse(text, CANDIDATES)
        for segment in parsed.segments:
            if isinstance(segment, AdMention):
                written = f"@{segment.title}@[{segment.ad_id}]"
                assert written in text or (segment.ad_id == "Ad-3" and "\u0301" in text)
                assert written in GOOD


def test_the_bid_never_comes_through():
    prompt_echo = "".join(f'{{"Ad ID": "{c.ad_id}", "Ad Title": "x", "Ad Bid": "73.519"}}\n' for c in CANDIDATES)
    for size in (1, 3, 7, 50, len(prompt_echo)):
        segments, errors = chunked(prompt_echo, range(0, len(prompt_echo), size))
        assert segments == [Text("\n" * len(CANDIDATES))]
        assert errors == {E.leaked_prompt: len(CANDIDATES)}


def test_plain_text_is_not_held_back():
    parser = Parser(CANDIDATES)
    assert parser.feed("Water the balcony") == [Text("Water the balcony")]
    assert parser.feed(" early @Mug@[Ad-7]") == [Text(" early "), MUG]


def test_an_answer_without_end_is_dropped_and_counted():
    text = "@x" * (MAX_SIGNS + 10)
    parsed = parse(text, CANDIDATES)
    assert parsed.errors == {E.endless: 1}
    assert parsed.segments == (Text("@x" * (MAX_SIGNS - 1) + "@"),)
    for size in (1, 2, 5, 997):
        assert chunked(text, range(0, len(text), size)) == whole(text)


def seconds(text, *, size):
    best = 9e9
    for _ in range(3):
        start = time.process_time()
        parser = Parser(CANDIDATES)
        for at in range(0, len(text), size):
            parser.feed(text[at : at + size])
        parser.finish()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("size", [1_000_000, 100], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", HOSTILE)
def test_ten_times_the_text_takes_no_more_than_some_ten_times_the_time(name, size):
    small, large = (repeated(HOSTILE[name], n) for n in (30_000, 300_000))
    floor = 0.004  # below this a clock tick decides
    assert seconds(large, size=size) <= 30 * max(floor, seconds(small, size=size))  # quadratic would be 100
