"""The click route: a person follows an ad's link, is charged for at most once, and always arrives at the advertiser.

What the request's headers tell is looked at here; everything that decides about money is billing's. The address a
visitor is sent to comes from the database alone.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.crypto import salted_hmac
from django.views.decorators.http import require_safe

from campaigns import billing, visitors
from campaigns.models import RejectedClick

RETRY_AFTER = 5  # seconds
REDIRECT_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}

# Robots that say so in their user agent: crawlers, link previews, monitors. HTTP libraries and headless browsers are
# not listed: an application that shows our answers may follow a link for its user, and billing's limits hold there too.
ROBOTS = re.compile(
    r"(?<!cu)bot"  # Cubot is a telephone
    r"|crawl|spider|slurp|scrapy|nutch|archive\.org|wayback|feedfetcher|mediapartners-google|google-(read-aloud|safety)"
    r"|facebookexternalhit|facebookcatalog|whatsapp|embedly|link ?preview|skypeuripreview|bingpreview"
    r"|chrome-lighthouse|pingdom|uptime|statuscake|site24x7|zgrab|masscan|nikto|sqlmap",
    re.IGNORECASE,
)


@require_safe
def click(request: HttpRequest, token: str) -> HttpResponse:
    """Records the click and redirects; a token we never issued gets the ordinary "not found" page and leaves no row."""
    try:
        outcome = follow(
            token=token,
            method=request.method,
            headers=request.headers,
            visitor_cookie=request.COOKIES.get(visitors.COOKIE, ""),
            peer=request.META.get("REMOTE_ADDR", ""),
        )
    except billing.InvalidToken:
        raise Http404 from None
    except (OperationalError, InterfaceError):  # without the database there is no address to send anybody to
        drop_dead_connections()
        return HttpResponse(
            "We cannot follow this link right now. Please try again in a moment.",
            status=503,
            content_type="text/plain; charset=utf-8",
            headers={"Retry-After": str(RETRY_AFTER), "Cache-Control": "no-store"},
        )
    response = HttpResponseRedirect(outcome.landing_url, headers=REDIRECT_HEADERS)
    if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_staff:
        response["X-Click-Outcome"] = outcome.outcome
    return response


def follow(
    *, token: str, method: str, headers: Mapping[str, str], visitor_cookie: str, peer: str
) -> billing.ClickOutcome:
    """Records one click as the request tells it. Header names are looked up in lower case."""
    return billing.record_click(
        token=token,
        visitor_hash=visitors.hash_of_cookie(visitor_cookie),
        network_hash=network_hash(client_address(peer, headers.get("x-forwarded-for", ""))),
        suspicion=suspicion(method, headers),
    )


def drop_dead_connections() -> None:
    """After a database's restart every pooled connection is dead: let go of all, not of one per failed request."""
    if connection.vendor == "postgresql" and (pool := connection.pool):
        pool.check()


def suspicion(method: str, headers: Mapping[str, str]) -> str | None:
    """Why this request is no person's click, if its method or headers say so."""
    if ROBOTS.search(headers.get("user-agent", "")):
        return RejectedClick.Reason.BOT.value
    if method == "HEAD":
        return RejectedClick.Reason.PREFETCH.value
    for name in ("sec-purpose", "purpose", "x-purpose", "x-moz"):
        value = headers.get(name, "").lower()
        if "prefetch" in value or "preview" in value or "prerender" in value:
            return RejectedClick.Reason.PREFETCH.value
    if headers.get("sec-fetch-dest", "document").lower() != "document":  # an image, a frame, a script's fetch
        return RejectedClick.Reason.PREFETCH.value
    return None


def client_address(peer: str, forwarded_for: str) -> str:
    """The visitor's address: what the outermost of our own proxies saw, or else the peer itself."""
    hops, trusted = forwarded_for.split(","), settings.TRUSTED_PROXY_COUNT
    if trusted and forwarded_for and len(hops) >= trusted:
        return hops[-trusted].strip()  # what stands left of it, the visitor may have made up
    return peer


def network_hash(address: str) -> str:
    """A keyed digest of the visitor's network (IPv4 /24, IPv6 /48); blank for addresses that say nothing about it.

    Private addresses are our own machines or a proxy that was not configured: everybody would share one.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if not ip.is_global:
        return ""
    network = ip_network(f"{ip}/{24 if ip.version == 4 else 48}", strict=False)
    return salted_hmac("campaigns.network", str(network), algorithm="sha256").hexdigest()
