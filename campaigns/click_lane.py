"""The click route's short way past the framework, for ASGI servers: the same function, a fixed set of threads.

A view in a thread of its own per request, behind a dozen middlewares, costs several times what the charge does. This
lane takes the ordinary case only: a GET with a good token and no log-in. Whatever else comes, and every answer but the
redirect, is left to the Django view, which decides the same way (tests/campaigns/test_click_lane.py).
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host

from campaigns import clicks, visitors
from campaigns.billing import InvalidToken

PREFIX = "/c/"
THREADS = 8  # each keeps one database connection

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="click")
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in clicks.REDIRECT_HEADERS.items()]
_HEADERS += [(b"content-length", b"0"), (b"x-content-type-options", b"nosniff")]


async def take(scope, send) -> bool:
    """Answers a click and returns True, or returns False for Django to answer. A click is charged once in any case."""
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(PREFIX):
        return False
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    cookies = parse_cookie(headers.get("cookie", ""))
    if settings.SESSION_COOKIE_NAME in cookies or not _is_welcome(scope, headers):
        return False
    url = await asyncio.get_running_loop().run_in_executor(
        _threads,
        _landing_url,
        scope["path"].removeprefix(PREFIX),
        headers,
        cookies.get(visitors.COOKIE, ""),
        (scope.get("client") or ("",))[0],
    )
    if not url:
        return False
    await send({"type": "http.response.start", "status": 302, "headers": [(b"location", url.encode()), *_HEADERS]})
    await send({"type": "http.response.body"})
    return True


def _landing_url(token: str, headers: dict[str, str], visitor_cookie: str, peer: str) -> str:
    """Where to, or "" when the view must answer."""
    try:
        return clicks.follow(
            token=token, method="GET", headers=headers, visitor_cookie=visitor_cookie, peer=peer
        ).landing_url
    except InvalidToken:
        return ""
    except (DatabaseError, InterfaceError):
        connection.close()
        clicks.drop_dead_connections()  # the view asks again through a live one; a charge that was made is found there
        return ""


def _is_welcome(scope, headers: dict[str, str]) -> bool:
    """What Django's middleware would let pass: our own host name, and TLS where that is required."""
    if settings.SECURE_SSL_REDIRECT and scope.get("scheme") != "https":
        name, value = settings.SECURE_PROXY_SSL_HEADER or ("", "")
        if headers.get(name.removeprefix("HTTP_").replace("_", "-").lower()) != value:
            return False
    return _is_our_host(headers.get("host", ""), tuple(settings.ALLOWED_HOSTS))


@lru_cache(maxsize=256)
def _is_our_host(host: str, allowed: tuple[str, ...]) -> bool:
    return validate_host(split_domain_port(host)[0], allowed)
