"""The values an auction works with. Knows nothing of Django, prompts or models."""

from dataclasses import dataclass

MICROS = 1_000_000  # one unit of the account's currency


@dataclass(frozen=True)
class Candidate:
    """One ad in the prompt of one auction, with the bid that stood there.

    ad_id is the public id ("Ad-1234"); bid_micros is the price of one click, in millionths of the currency (Eq. 7).
    """

    ad_id: str
    title: str
    bid_micros: int


def format_micros(micros: int) -> str:
    """Exact decimal text of an amount, without trailing zeros: 41_000_000 -> "41", 73_519_000 -> "73.519"."""
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    units, rest = divmod(micros, MICROS)
    return f"{sign}{units}" + (f".{rest:06d}".rstrip("0") if rest else "")
