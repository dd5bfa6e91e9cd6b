"""Invented ads: brand and product titles, ids and bids. Knows the topics, not the seed catalogue of the shop.

Brands of a split never meet: a brand is two word parts, and the held-out brands are made of parts no training brand
uses.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from campaigns.auction.candidates import MICROS, Candidate
from training.lab.topics import load_topics

_FIRST = (
    "Amber Ash Aspen Bay Bell Birch Blue Bolt Bram Bright Brook Cedar Clear Clover Coast Cobalt Copper Coral "
    "Crest Dale Dawn Dell Drift Dune East Echo Elder Ember Ever Fair Fen Fern Field Flint Fox Frost Gale Glen "
    "Gold Grand Gray Green Gull Harbor Hart Haven Hawk Hazel Heath High Hill Holly Home Honey Iron Ivy Jade "
    "Juniper Kestrel Kin Lake Lark Laurel Leaf Light Lime Linden Lumen Lunar Maple Marsh Meadow Mill Mint Moss "
    "Moor Nest Noble North Nova Oak Oat Ocean Olive Opal Orchard Otter Pale Park Pearl Pebble Pine Plum Pond "
    "Prime Quartz Quick Quill Rain Raven Red Reed Ridge River Robin Rose Rowan Ruby Rush Sage Sand Sea Shade "
    "Silver Sky Slate Snow Sol South Spark Spruce Star Steel Stone Storm Sun Swift Tall Thistle Thorn Tide Timber "
    "True Urban Vale Velvet Verde Vista Warm Wave West Wheat White Wild Willow Wind Winter Wood Wren Zen Zephyr "
    "Ardo Belo Calo Dovi Elmi Faro Gino Hiro Ista Jovi Kalo Lumo Mira Nelo Orsa Pavo Rilo Savo Tero Ulmo Vero "
    "Wano Yuri Zola"
)
_SECOND = (
    "bank beam bend berry bird bloom boro bound branch bridge brook burn by cliff craft crest dale den down edge "
    "ell fall fare fell field finch flow fold ford forge form gate glade glen grove ham haven hill hollow home "
    "house joy land lane leaf light line link loft mark mead mere mill mont moor nest ora path peak pine point "
    "pond port press rest ridge rise road rock root run shore side smith spring step stead stone stow stream tail "
    "ton trail tree vale view ville ward ware water way well wick wind wing wise wood work worth yard zo lio nix "
    "tana vara lia dor mira neva sol tek rio quin via"
)
_HELD_OUT_FIRST = (
    "Crumb Gloam Jolly Vex Nimb Pumper Sled Truffle Wobble Yonder Kettler Bracken Murmur Tangle Osprey Humber "
    "Jasper Quiver Sable Tundra Mellow Pickle Barley Dapple Thrush Nettle Rumble Saffron Plover Cricket"
)
_HELD_OUT_SECOND = (
    "ette thorpe moth kin gust lock spire bury sprig fathom gable nook tarn veil shire dew fleet march "
    "thread hook crown lantern bell rook stitch"
)
_ADJECTIVES = (
    "Compact Classic Everyday Deluxe Slim Soft Smart Premium Natural Original Light Handmade Foldable Quiet "
    "Modern Large Mini Pro Essential Travel Eco Gentle Sturdy Simple Cosy Bright"
)
INVENTED = 0.5  # of the brands: words that no tokenizer has seen
OF_PARTS = 0.75  # of those, where parts are given: any of them, in any order
FEW = 0.4  # of the lists: all brands are made of the same few parts
STRANGE = 0.5  # of those: parts that no tokenizer has seen
SILENT = 0.06  # of the ads: titles that say nothing
FIRST_PARTS, SECOND_PARTS, ADJECTIVES = (tuple(words.split()) for words in (_FIRST, _SECOND, _ADJECTIVES))
HELD_OUT_FIRST, HELD_OUT_SECOND = (tuple(words.split()) for words in (_HELD_OUT_FIRST, _HELD_OUT_SECOND))
_ONSETS = (
    *"bcdfghjklmnprstvwyz",
    "br",
    "ch",
    "cl",
    "dr",
    "fl",
    "gr",
    "kr",
    "pl",
    "qu",
    "sh",
    "sk",
    "st",
    "th",
    "tr",
    "zw",
)
_NUCLEI = (*"aeiouaeio", "ai", "au", "ea", "ee", "ie", "oo", "ou")
_CODAS = ("", "", "", *"dklmnrstxz", "ck", "ld", "nd", "ng", "rt", "sh", "st", "th")
OFFERS = ("Starter Kit", "Set", "Guide", "App", "Online Course", "Gift Box", "Kit", "Bundle", "Membership", "Organizer")


@dataclass(frozen=True)
class LabAd:
    """A candidate and the category it was made for (None: a title that says nothing)."""

    candidate: Candidate
    category: str | None

    @property
    def marker(self) -> str:
        """The ad as the prompt wants it written."""
        return f"@{self.candidate.title}@[{self.candidate.ad_id}]"


@cache
def _pieces() -> tuple[str, ...]:
    """The words of topics.md."""
    words = (
        word for entry in load_topics().values() for item in (*entry.related, *entry.products) for word in item.split()
    )
    return tuple(sorted({word.lower() for word in words if word.isalpha() and len(word) > 3}))


def invented_word(rng: random.Random, parts: Sequence[str] = ()) -> str:
    """A word that no tokenizer has seen: one to four syllables, or one to three pieces of known words, which are
    common tokens in places that tell nothing; or up to four of the parts.
    """
    if parts and rng.random() < OF_PARTS:
        word = "".join(rng.choices(parts, k=rng.choice((1, 2, 2, 3, 4))))
        return word[0].upper() + word[1:]
    if rng.random() < 0.5:
        words = rng.choices(_pieces(), k=rng.choice((1, 2, 2, 3)))
        starts = [rng.randint(0, len(word) - 3) for word in words]
        return "".join(
            word[start : start + rng.randint(2, 6)] for word, start in zip(words, starts, strict=True)
        ).capitalize()
    word = "".join(
        rng.choice(_ONSETS) + rng.choice(_NUCLEI) + rng.choice(_CODAS) for _ in range(rng.choice((1, 2, 2, 3, 3, 4)))
    )
    return word.capitalize()


def brand(
    rng: random.Random,
    *,
    firsts: tuple[str, ...] = FIRST_PARTS,
    seconds: tuple[str, ...] = SECOND_PARTS,
    parts: Sequence[str] = (),
) -> str:
    """A made-up brand: two word parts, or an invented word; now and then two words."""
    whole = firsts in (FIRST_PARTS, HELD_OUT_FIRST)
    name = invented_word(rng, parts) if whole and rng.random() < INVENTED else rng.choice(firsts) + rng.choice(seconds)
    return f"{name} {rng.choice('&+-')} {rng.choice(firsts)}" if rng.random() < 0.04 else name


def _few_parts(rng: random.Random, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """So many first and second parts of brands. Of strange ones, several tokens each, brands share whole stretches."""
    if rng.random() < STRANGE:
        strange = [invented_word(rng)[: rng.randint(3, 7)] for _ in range(2 * count)]
        return tuple(strange[:count]), tuple(word.lower() for word in strange[count:])
    return tuple(rng.sample(FIRST_PARTS, count)), tuple(rng.sample(SECOND_PARTS, count))


def product(rng: random.Random, category: str | None) -> str:
    """What the title sells: two to four words, now and then with an adjective or a model number; foreign words where
    there is no category.
    """
    if category is None:
        noun = " ".join(invented_word(rng) for _ in range(rng.randint(1, 3)))
    elif rng.random() < 0.15:
        noun = f"{rng.choice(load_topics()[category].keywords[:5]).title()} {rng.choice(OFFERS)}"
    elif rng.random() < 0.2:
        entry = load_topics()[category]
        noun = f"{rng.choice(entry.related).title()} {rng.choice(entry.products).split()[-1]}"
    else:
        noun = rng.choice(load_topics()[category].products)
    if rng.random() < 0.25:
        noun = f"{rng.choice(ADJECTIVES)} {noun}"
    if rng.random() < 0.08:
        noun = f"{noun} {rng.choice(('X', 'S', 'Mk ', 'No. ', 'V', ''))}{rng.randint(2, 900)}"
    return noun


def make_ad(rng: random.Random, *, ad_id: str, category: str | None, brand_name: str) -> LabAd:
    """One ad with a whole bid from 1 to 100, as in the paper's data (section 5.2.1)."""
    title = f"{brand_name} {product(rng, category)}"
    return LabAd(Candidate(ad_id=ad_id, title=title, bid_micros=rng.randint(1, 100) * MICROS), category)


def make_candidates(
    rng: random.Random,
    *,
    count: int,
    wanted: Sequence[str] = (),
    slugs: Sequence[str] = (),
    held_out: bool = False,
    own_brands: bool = False,
    parts: Sequence[str] = (),
    few: float = FEW,
) -> list[LabAd]:
    """A shuffled candidate list with at least one ad of each wanted category, as far as count allows, and the rest of
    any of the categories named by `slugs` (all of them).

    Unless each has a brand of its own, some brands sell several products, so that titles share their first words; in
    some lists (the share `few` of them) all brands are made of the same few parts. Other invented brands are mostly
    made of `parts`, where given.
    """
    slugs = list(slugs or load_topics())
    ids = rng.sample(range(1000, 10000), count)
    firsts, seconds = (HELD_OUT_FIRST, HELD_OUT_SECOND) if held_out else (FIRST_PARTS, SECOND_PARTS)
    if not held_out and rng.random() < few:
        firsts, seconds = _few_parts(rng, rng.choice((15, 30)))
    wanted_brands = max(1, round(count * (1.0 if own_brands else rng.choice((0.3, 0.6, 1.0)))))
    brands: list[str] = []
    while len(brands) < wanted_brands:
        name = brand(rng, firsts=firsts, seconds=seconds, parts=parts)
        if not (own_brands and name in brands):
            brands.append(name)
    titles: set[str] = set()
    ads: list[LabAd] = []
    for number in ids:
        some = None if rng.random() < SILENT else rng.choice(slugs)
        category = (wanted[len(ads)] or some) if len(ads) < len(wanted) else some
        name = brands[len(ads)] if len(ads) < len(brands) else rng.choice(brands)
        ad = make_ad(rng, ad_id=f"Ad-{number}", category=category, brand_name=name)
        while ad.candidate.title in titles:
            fresh = brand(rng, firsts=firsts, seconds=seconds, parts=parts)
            ad = make_ad(rng, ad_id=f"Ad-{number}", category=category, brand_name=fresh)
        titles.add(ad.candidate.title)
        ads.append(ad)
    rng.shuffle(ads)
    return ads
