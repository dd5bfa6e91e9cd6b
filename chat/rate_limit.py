"""How many questions a visitor may send in a minute. Knows nothing of what is asked or of who answers."""

from datetime import datetime
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from campaigns.clicks import client_address

PEOPLE_BEHIND_ONE_ADDRESS = 3  # an office shares one address; a fresh cookie per question must not be a way round


def is_over_limit(*, request: HttpRequest, visitor: str, now: datetime) -> bool:
    """Counts this question, and says whether it is one too many in this minute for the visitor or for the address."""
    minute = f"{now:%Y%m%d%H%M}"
    limit = settings.QUESTIONS_PER_MINUTE
    address = client_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
    counts = [(f"questions:{minute}:line:{_line(address)}", limit * PEOPLE_BEHIND_ONE_ADDRESS)]
    if visitor:
        counts.append((f"questions:{minute}:visitor:{visitor}", limit))
    over = [_count(key) > most for key, most in counts]  # counts both before it judges
    return any(over)


def _line(address: str) -> str:
    """What one customer of a network has: an IPv4 address, or 2**64 IPv6 addresses to change between."""
    try:
        return str(ip_network(f"{address}/64", strict=False)) if ip_address(address).version == 6 else address
    except ValueError:
        return address


def _count(key: str) -> int:
    cache.add(key, 0, timeout=120)
    try:
        return cache.incr(key)
    except ValueError:  # it expired in between: a new minute anyway
        return 1
