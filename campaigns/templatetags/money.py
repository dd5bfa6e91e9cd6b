"""Micros as money for people. Exact: an amount keeps its smallest part and is only padded to two decimals."""

from django import template
from django.conf import settings

from campaigns.auction.candidates import format_micros

register = template.Library()


def exact_amount(micros: int) -> str:
    """41_000_000 -> "41.00", 1_234_500_000 -> "1,234.50", 73_519_000 -> "73.519"."""
    units, _, decimals = format_micros(micros).partition(".")
    sign, units = ("−", units[1:]) if units.startswith("-") else ("", units)
    return f"{sign}{int(units):,}.{decimals.ljust(2, '0')}"


@register.filter
def micros(value: int | None) -> str:
    """The amount with its currency; an en dash where there is none."""
    return "–" if value is None else f"{exact_amount(int(value))}\u00a0{settings.CURRENCY}"


@register.filter
def amount(value: int | None) -> str:
    """The amount alone, where the table's heading names the currency."""
    return "–" if value is None else exact_amount(int(value))


@register.filter
def average(value: int | None) -> str:
    """An average, which is rounded anyway: to a hundredth of the unit, or to its first two digits when it is less."""
    return "–" if value is None else exact_amount(to_readable(int(value)))


def to_readable(micros: int) -> int:
    """Rounded half up to a hundredth, as long as that leaves two digits: 10_666_667 -> 10_670_000, 1_234 -> 1_200."""
    step = max(1, min(10_000, 10 ** (len(str(abs(micros))) - 2)))
    return (micros + step // 2) // step * step


@register.filter
def plain_micros(value: int | None) -> str:
    """The amount as parse_amount reads it back: what a form field holds."""
    return "" if value is None else format_micros(value)
