"""Rates and changes as words and numbers for people."""

from django import template

register = template.Library()


@register.filter
def share(value: float | None) -> str:
    """0.0123 -> "1.23%"; an en dash where there is no base."""
    return "–" if value is None else f"{value:.2%}"


@register.filter
def change(value: float | None) -> str:
    """0.123 -> "12% more", -0.5 -> "50% less"."""
    if value is None:
        return ""
    if abs(value) < 0.005:
        return "about the same"
    return f"{abs(value):,.0%} {'more' if value > 0 else 'less'}"
