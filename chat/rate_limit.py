"""How many questions one visitor, one address and all of them together may send. Knows nothing of what is asked.

An answer reads a prompt of bounded length and writes at most 2,048 tokens, so these limits bound the tokens too: per
minute, per day, and for the whole site per day.
"""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from campaigns.clicks import client_address

PEOPLE_BEHIND_ONE_ADDRESS = 3  # an office shares one address; a fresh cookie per question must not be a way round


@dataclass(frozen=True)
class Window:
    """A span of UTC time in which questions are counted."""

    stamp: str  # strftime
    seconds: int
    setting: str
    refusal: str


MINUTE = Window(
    "%Y%m%d%H%M",
    60,
    "QUESTIONS_PER_MINUTE",
    "You have asked many questions in one minute. Please wait a moment, then ask again.",
)
DAY = Window(
    "%Y%m%d", 24 * 3600, "QUESTIONS_PER_DAY", "You have asked many questions today. Please come back tomorrow."
)


def refusal(*, request: HttpRequest, visitor: str, now: datetime, windows: tuple[Window, ...] = (MINUTE, DAY)) -> str:
    """Counts this question; why it is one too many for the visitor or for the address, "" where it is not."""
    address = client_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
    refused = [window.refusal for window in windows if _is_over(window, _line(address), visitor, now)]
    return refused[-1] if refused else ""


def _is_over(window: Window, line: str, visitor: str, now: datetime) -> bool:
    limit = getattr(settings, window.setting)
    span = now.strftime(window.stamp)
    counts = [(f"questions:{span}:line:{line}", limit * PEOPLE_BEHIND_ONE_ADDRESS)]
    if visitor:
        counts.append((f"questions:{span}:visitor:{visitor}", limit))
    over = [_count(key, 2 * window.seconds) > most for key, most in counts]  # counts both before it judges
    return any(over)


def _line(address: str) -> str:
    """What one customer of a network has: an IPv4 address, or 2**64 IPv6 addresses to change between."""
    try:
        return str(ip_network(f"{address}/64", strict=False)) if ip_address(address).version == 6 else address
    except ValueError:
        return address


def _count(key: str, timeout: int) -> int:
    cache.add(key, 0, timeout=timeout)
    try:
        return cache.incr(key)
    except ValueError:  # it expired in between: a new span anyway
        return 1
