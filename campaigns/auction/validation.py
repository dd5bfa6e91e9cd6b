"""Strict readers of everything a person types into the market: amounts, titles, addresses, ids and questions.

Each returns the one normal form that is stored, or raises InvalidInput with a sentence for the person. Knows nothing of
forms, requests or the database. What advertisers write is refused when it is unusual (they can correct it); what
visitors write is cleaned silently (they came to ask).
"""

import re
import unicodedata
from urllib.parse import quote, urlsplit, urlunsplit

import idna

from campaigns.auction.candidates import MICROS, format_micros
from campaigns.auction.confusables import fold_lookalikes

MIN_BID_MICROS = 1
MAX_BID_MICROS = 1_000_000_000  # 1,000 units for one click
MAX_BALANCE_MICROS = 9_000_000_000_000_000  # of any account; leaves a bigint room to add two of them

TITLE_LENGTH = (2, 80)
SKELETON_LENGTH = 160
MAX_URL_LENGTH = 500
MAX_QUERY_LENGTH = 2000
MAX_PROFILE_LENGTH = 1000
MAX_MARKS_IN_A_ROW = 3  # enough for pointed Hebrew and Thai; a tower of marks covers its neighbours


class InvalidInput(ValueError):
    """Says in one sentence, to the person who typed it, what is accepted."""


# --- amounts ---

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,6})(?:\.([0-9]{1,6}))?")


def parse_amount(text: str, *, minimum: int, maximum: int) -> int:
    """Micros of a plain decimal such as "12" or "12.50", between minimum and maximum micros inclusive.

    Only ASCII digits and one point: no sign, space, separator, exponent, other digits or leading zero ("007" is more
    likely a slip than an amount). Trailing zeros are welcome. Numbers that are not text are refused: a JSON 0.1 is
    already a float, and NaN is one too.
    """
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise InvalidInput("Write an amount in plain digits with at most six decimals, such as 12 or 12.50.")
    micros = int(match[1]) * MICROS + int((match[2] or "").ljust(6, "0"))
    if not minimum <= micros <= maximum:
        raise InvalidInput(f"Write an amount from {format_micros(minimum)} to {format_micros(maximum)}.")
    return micros


# --- characters ---

_REFUSED_CATEGORIES = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
# Invisible or blank though their category says letter, mark or symbol.
_BLANKS = set("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc\U0001d159")


def _is_invisible(char: str) -> bool:
    """Control, format (zero-width, bidi, tag), private, unassigned and surrogate code points, blanks and selectors."""
    return (
        unicodedata.category(char) in _REFUSED_CATEGORIES
        or char in _BLANKS
        or "\ufe00" <= char <= "\ufe0f"
        or "\U000e0100" <= char <= "\U000e01ef"
    )


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M")


def _named(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".rstrip()


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{what} must be text.")
    return value


# --- ads ---

_MARKUP = "@[]<>"  # what the ad markers, HTML and chat templates are made of


def clean_title(text: str) -> str:
    """An ad's title as it will stand in prompts and answers: NFC, 2 to 80 characters, single inner spaces.

    Spaces at the ends and double spaces are a slip of the keyboard and normalised; every other unusual character is
    refused by name, because the person cannot see it.
    """
    title = re.sub(" +", " ", _text(text, "The title")).strip(" ")
    shortest, longest = TITLE_LENGTH
    length_message = f"The title needs {shortest} to {longest} characters."
    if not shortest <= len(title) <= 2 * longest:  # NFC may shorten it; the rest is only read when it is short
        raise InvalidInput(length_message)
    marks = 0
    for char in title:
        marks = marks + 1 if _is_mark(char) else 0
        if _is_invisible(char) or (char.isspace() and char != " "):
            raise InvalidInput(f"The title holds an invisible or unusual character: {_named(char)}. Please remove it.")
        if any(form in _MARKUP for form in unicodedata.normalize("NFKD", char)):
            raise InvalidInput(f"The title must not hold {_named(char)}: {' '.join(_MARKUP)} mark up ads.")
        if marks > MAX_MARKS_IN_A_ROW:
            raise InvalidInput(f"The title has more than {MAX_MARKS_IN_A_ROW} combining marks in a row.")
    if _is_mark(title[0]):
        raise InvalidInput("The title must not begin with a combining mark.")
    title = unicodedata.normalize("NFC", title)
    if not shortest <= len(title) <= longest or len(title_skeleton(title)) > SKELETON_LENGTH:
        raise InvalidInput(length_message)
    if not any(char.isalnum() for char in title):
        raise InvalidInput("The title needs a letter or a digit.")
    return title


def title_skeleton(title: str) -> str:
    """The same string for titles that look the same; unique in the database, so nobody can pass for a rival.

    Look-alike letters, case, accents, punctuation and spacing are folded: "Acme Mug", "АСМЕ MUG" (Cyrillic) and
    "acme-mug!" share one skeleton. Not meant to be shown.
    """
    folded = fold_lookalikes(title)
    return " ".join("".join(char if char.isalnum() or _is_mark(char) else " " for char in folded).split())


_AD_ID = re.compile(r"Ad-[1-9][0-9]{3,8}")


def clean_ad_id(text: str) -> str:
    """A public ad id, "Ad-" and four to nine digits. The first is no zero: Ad-0001 stands in the prompt's examples."""
    if not isinstance(text, str) or not _AD_ID.fullmatch(text):
        raise InvalidInput("An ad id looks like Ad-1234.")
    return text


# --- landing pages ---

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PRIVATE_SUFFIXES = {"localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private"}
_PRIVATE_SUFFIXES |= {"arpa", "onion"}  # not private, but nothing a shopper's browser can open
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%(?:[01][0-9A-Fa-f]|7[Ff])")


def clean_landing_url(text: str) -> str:
    """An https address on a public host name, normalised: ASCII lower-case host, no port, escapes where needed.

    Refused are credentials, other ports, IP addresses in any notation and private names. The parser is urlsplit, and
    what it would silently drop (tabs, line breaks, backslashes that browsers read as slashes) is refused before.
    """
    url = _text(text, "The landing page")
    if len(url) > MAX_URL_LENGTH:
        raise InvalidInput(f"The landing page's address may have at most {MAX_URL_LENGTH} characters.")
    if any(_is_invisible(char) or char.isspace() or char in '\\<>"`{}|^' for char in url) or _BAD_ESCAPE.search(url):
        raise InvalidInput("The landing page's address holds a space or a character that web addresses do not have.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput("The landing page must be a web address such as https://shop.example/mugs.") from None
    if parts.scheme != "https" or not parts.hostname:
        raise InvalidInput("The landing page must begin with https:// and a host name.")
    if "@" in parts.netloc:
        raise InvalidInput("The landing page must not hold a user name or password.")
    if "[" in parts.netloc:
        raise InvalidInput("The landing page needs a host name, not an IP address.")
    if port not in (None, 443):
        raise InvalidInput("The landing page must use the usual https port.")
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~") or "/"
    query, fragment = (quote(part, safe="/?%:@!$&'()*+,;=~") for part in (parts.query, parts.fragment))
    url = urlunsplit(("https", _public_host(parts.hostname), path, query, fragment))
    if len(url) > MAX_URL_LENGTH:
        raise InvalidInput(f"The landing page's address may have at most {MAX_URL_LENGTH} characters when escaped.")
    return url


def _public_host(host: str) -> str:
    """The host's ASCII form, if it is a name in public DNS."""
    try:
        host = idna.encode(host, uts46=True).decode().lower().removesuffix(".")
    except UnicodeError:
        raise InvalidInput("The landing page's host name is not valid.") from None
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidInput("The landing page's host name is not valid.")
    # Browsers read any host whose last label is a number (decimal, octal or 0x...) as an IPv4 address.
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        raise InvalidInput("The landing page needs a host name, not an IP address.")
    if len(labels) < 2 or labels[-1] in _PRIVATE_SUFFIXES:
        raise InvalidInput("The landing page needs a public host name such as shop.example.")
    return host


# --- what visitors write ---

_LINE_ENDS = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\v": "\n", "\f": "\n"})


def clean_query(text: str, *, max_length: int = MAX_QUERY_LENGTH) -> str:
    """A visitor's question: invisible characters and towers of marks removed, NFC, not empty, not too long."""
    query = _cleaned(_text(text, "The question"))
    if not query:
        raise InvalidInput("Please write a question.")
    if len(query) > max_length:
        raise InvalidInput(f"The question has {len(query):,} characters; {max_length:,} is the most.")
    return query


def clean_profile(text: str, *, max_length: int = MAX_PROFILE_LENGTH) -> str:
    """A visitor's profile, cleaned like a question; it may be empty."""
    profile = _cleaned(_text(text, "The profile"))
    if len(profile) > max_length:
        raise InvalidInput(f"The profile has {len(profile):,} characters; {max_length:,} is the most.")
    return profile


def _cleaned(text: str) -> str:
    kept, marks = [], 0
    for char in text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINE_ENDS):
        if char not in "\n\t" and _is_invisible(char):
            continue
        marks = marks + 1 if _is_mark(char) else 0
        if marks <= MAX_MARKS_IN_A_ROW:  # before NFC, which takes quadratic time on a long tower
            kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept)).strip()
