import random
import unicodedata
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.adllm.markup import AdMention, Parser, Text, joined, parse
from chat.adllm.rendering import MAX_MARKDOWN, plain_text, render, visible
from tests.chat.adllm.documents import CANDIDATES, GOOD, MARKDOWN, document
from tests.chat.adllm.payloads import XSS

ALLOWED = "p br em strong s code pre ul ol li blockquote hr h3 h4 h5 h6 table thead tbody tr th td a"
MUG = AdMention("Ad-7", "Mug", first=True)


def link(mention):
    return f'<a href="/r/{mention.ad_id}">Sponsored</a>'


class Reader(HTMLParser):
    """What a browser would make of it: tags, attributes, and the text of each link."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts = Counter(), [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, *attr) for attr in attrs]

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def assert_safe(html, segments):
    read = Reader(html)
    assert set(read.tags) <= set(ALLOWED.split())
    wanted = [("a", "href", f"/r/{s.ad_id}") for s in segments if isinstance(s, AdMention)]
    assert Counter(read.attributes) == Counter(
        wanted
    )  # every ad is there, no link is forged, nothing else has attributes
    assert read.tags["a"] == len(wanted)
    assert visible(html) == html
    html.encode()


def shown(text, **kwargs):
    segments = parse(text, CANDIDATES, **kwargs).segments
    html = render(segments, link=link)
    assert_safe(html, segments)
    return html


A = link(MUG)
PLACES = [  # name, what is written, what is shown
    ("paragraph", "Try @Mug@[Ad-7].", f"<p>Try {A}.</p>"),
    ("bold", "**@Mug@[Ad-7]**", f"<p><strong>{A}</strong></p>"),
    ("bold inside a word", "a**@Mug@[Ad-7]**b", f"<p>a<strong>{A}</strong>b</p>"),
    ("heading", "# @Mug@[Ad-7]", f"<h3>{A}</h3>"),
    ("list", "- @Mug@[Ad-7]", f"<ul>\n<li>{A}</li>\n</ul>"),
    ("inline code", "`@Mug@[Ad-7]`", f"<p><code>{A}</code></p>"),
    ("code block", "```\n@Mug@[Ad-7]\n```", f"<pre><code>{A}\n</code></pre>"),
    ("unclosed code block", "```\n@Mug@[Ad-7]", f"<pre><code>{A}</code></pre>"),
    ("indented code", "    @Mug@[Ad-7]", f"<pre><code>{A}\n</code></pre>"),
    ("quote", "> @Mug@[Ad-7]", f"<blockquote>\n<p>{A}</p>\n</blockquote>"),
    ("link", "[@Mug@[Ad-7]](https://evil.example)", f"<p>[{A}](https://evil.example)</p>"),
    ("backslash", "\\@Mug@[Ad-7]", f"<p>\\{A}</p>"),
    ("language of a code block", "```@Mug@[Ad-7]\nx\n```", f"<pre><code>x\n</code></pre>\n<p>{A}</p>"),
]


@pytest.mark.parametrize(("text", "html"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
def test_ad_works_wherever_it_stands(text, html):
    assert shown(text).strip() == html


def test_ad_works_in_a_table_and_in_a_cell_too_many():
    html = shown("| a |\n|---|\n| @Mug@[Ad-7] | @Mug Deluxe@[Ad-12] |\n")
    assert f"<td>{A}</td>" in html
    assert html.endswith('<p><a href="/r/Ad-12">Sponsored</a></p>\n')


def test_every_mention_is_a_link():
    assert shown("@Mug@[Ad-7] and @Mug@[Ad-7]").count(A) == 2


def test_headings_leave_the_first_two_levels_to_the_page():
    assert shown("# a\n\n###### b").split() == ["<h3>a</h3>", "<h6>b</h6>"]


@pytest.mark.parametrize(
    "forged",
    [
        "\ue0000\ue001",
        "&#xE000;0&#xE001;",
        "&#57344;0000000000000000-0&#57345;",
        "\ue0000123456789abcdef-0\ue001",
        "&#xE000;" + "0" * 16 + "-0&#xe001;",
        "\U000f00000\U000f0001",
    ],
)
def test_a_placeholder_cannot_be_forged(forged):
    html = shown(f"{forged} @Mug@[Ad-7] {forged}")
    assert html.count("<a ") == 1


WRAPS = (
    "{}",
    "a {} @Mug@[Ad-7]",
    "- {}",
    "> {}",
    "**{}**",
    "`{}`",
    "```\n{}\n```",
    "|a|b|\n|-|-|\n|{}|@Mug@[Ad-7]|",
    "@{}@[Ad-7]",
)


@pytest.mark.parametrize("payload", XSS)
def test_markup_in_an_answer_stays_text(payload):
    for wrap in WRAPS:
        shown(wrap.format(payload))


def test_markup_is_shown_as_it_was_written():
    assert shown("a <b>b</b> &lt;i&gt; [c](d)") == "<p>a &lt;b&gt;b&lt;/b&gt; &lt;i&gt; [c](d)</p>\n"


def test_there_are_enough_payloads():
    assert len(set(XSS)) >= 60


def test_50000_hostile_answers_show_their_ads_and_nothing_else():
    rng = random.Random(99)
    for _ in range(50_000):
        text = document(rng, pieces=MARKDOWN, most=16)
        segments = parse(text, CANDIDATES, max_ads=3).segments
        assert_safe(render(segments, link=link), segments)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([*MARKDOWN, *GOOD, *XSS]), st.text(max_size=8)), max_size=10))
def test_whatever_is_written_is_safe(pieces):
    shown("".join(pieces))


def test_an_unfinished_answer_renders_at_every_length():
    rng = random.Random(5)
    for _ in range(150):
        parser, segments = Parser(CANDIDATES), []
        for char in document(rng, pieces=MARKDOWN, most=12):
            if new := parser.feed(char):
                segments = joined([*segments, *new])
                assert_safe(render(segments, link=link), segments)


def test_a_very_long_answer_is_shown_without_markdown():
    html = shown("<b>*x*\n" * (MAX_MARKDOWN // 6) + "@Mug@[Ad-7]")
    assert html.startswith("<p>&lt;b&gt;*x*<br>")
    assert html.endswith(A + "</p>")


def test_unseen_characters_are_taken_out():
    kept = {"\t", "\n", "\r", "\u200c", "\u200d"}
    for code in range(0x110000):
        char = chr(code)
        if unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs"):
            assert visible(char) == (char if char in kept else ""), hex(code)
    words = "Ärger, naïve, 東京, हिन्दी, العربية, 👩‍👧, ❤️, ½, é, \ufffd"
    assert visible(words) == words


@pytest.mark.parametrize("entity", ["&#x202e;", "&#8238;", "&#x200B;", "&#xE000;", "&#0;", "&#xFFFE;", "&#xD800;"])
def test_unseen_characters_do_not_come_back_as_entities(entity):
    assert visible(html := shown(f"a{entity}b")) == html


def test_plain_text_names_ads_by_their_title():
    assert plain_text([Text("Try "), MUG, Text("\u202e!")]) == "Try Mug!"
