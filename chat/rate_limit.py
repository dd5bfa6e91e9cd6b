"""How many questions a visitor may send in a minute. Knows nothing of what is asked or of who answers."""

from datetime import datetime

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

PEOPLE_BEHIND_ONE_ADDRESS = 3  # an office shares one address; a fresh cookie per question must not be a way round


def is_over_limit(*, request: HttpRequest, visitor: str, now: datetime) -> bool:
    """Counts this question, and says whether it is one too many in this minute for the visitor or for the address."""
    minute = f"{now:%Y%m%d%H%M}"
    limit = settings.QUESTIONS_PER_MINUTE
    counts = [(f"questions:{minute}:address:{client_address(request)}", limit * PEOPLE_BEHIND_ONE_ADDRESS)]
    if visitor:
        counts.append((f"questions:{minute}:visitor:{visitor}", limit))
    over = [_count(key) > most for key, most in counts]  # counts both before it judges
    return any(over)


def client_address(request: HttpRequest) -> str:
    """The address of the browser: only what our own proxies wrote into X-Forwarded-For is believed."""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    ours = settings.TRUSTED_PROXY_COUNT
    return hops[-min(ours, len(hops))] if ours and hops else request.META.get("REMOTE_ADDR", "")


def _count(key: str) -> int:
    cache.add(key, 0, timeout=120)
    try:
        return cache.incr(key)
    except ValueError:  # it expired in between: a new minute anyway
        return 1
