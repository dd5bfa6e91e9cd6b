"""Turn the segments of an answer into safe HTML. Knows nothing of Django, of URLs or of how a sponsored link looks.

Three steps, none of which trusts the model: its text is cleared of invisible and private-use characters; markdown
without links, images and HTML becomes HTML and is sanitised to bare tags without attributes; only then do the ads take
the place of their placeholders. A placeholder is private-use characters around a number drawn anew for each rendering,
so no text can stand in for an ad, not even by an entity such as &#xE000;. An ad that markdown swallows (behind ``` as
the name of a language, in a table cell too many) is put at the end: what is paid for is shown.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from html import escape

import nh3
from markdown_it import MarkdownIt

from chat.adllm.markup import AdMention, Segment, Text

MAX_MARKDOWN = 40_000  # characters; a longer text, over twice the longest answer, is shown without markdown

# Control, bidirectional, invisible and private-use characters and lone surrogates. The joiners U+200C and U+200D stay:
# Persian, Indic scripts and emoji need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\uf8ff\ufeff\ufff9-\ufffc\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001345f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_OPEN, _CLOSE = "\ue000", "\ue001"

_markdown = MarkdownIt("js-default", {"html": False}).disable(
    ["image", "autolink", "link", "reference", "linkify", "html_block", "html_inline"]
)
_TAGS = "p br em strong s code pre ul ol li blockquote hr h3 h4 h5 h6 table thead tbody tr th td"
_cleaner = nh3.Cleaner(tags=set(_TAGS.split()), attributes={}, link_rel=None)


def visible(text: str) -> str:
    """The text without characters that cannot be seen, that turn its direction, or that could mark a placeholder."""
    return _UNSEEN.sub("", text)


def render(segments: Sequence[Segment], *, link: Callable[[AdMention], str]) -> str:
    """Safe HTML of an answer, finished or not. `link` gives the trusted HTML that stands for one mention of an ad."""
    opening = _OPEN + secrets.token_hex(8) + "-"
    mentions = [segment for segment in segments if isinstance(segment, AdMention)]
    numbers = iter(range(len(mentions)))
    text = "".join(visible(s.text) if isinstance(s, Text) else f"{opening}{next(numbers)}{_CLOSE}" for s in segments)

    before, *parts = _cleaner.clean(_html(text)).split(opening)
    out, lost = [visible(before)], set(range(len(mentions)))
    for part in parts:
        number, _, rest = part.partition(_CLOSE)
        lost.discard(int(number))
        out += [link(mentions[int(number)]), visible(rest)]
    out += [f"<p>{link(mentions[number])}</p>\n" for number in sorted(lost)]
    return "".join(out)


def plain_text(segments: Iterable[Segment]) -> str:
    """The answer as a reader without markup sees it: an ad is its title."""
    return "".join(visible(s.text) if isinstance(s, Text) else s.title for s in segments)


def _html(text: str) -> str:
    if len(text) > MAX_MARKDOWN:
        return "<p>" + escape(text).replace("\n", "<br>") + "</p>"
    tokens = _markdown.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"  # h1 and h2 belong to the page
    return _markdown.renderer.render(tokens, _markdown.options, {})
