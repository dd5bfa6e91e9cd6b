"""The short lane and the Django view are one route: the same redirect, the same rows, whatever the request."""

import asyncio
import http.cookies

import pytest
from django.db import connections

from auction_site.asgi import application
from campaigns import click_lane, tokens, visitors
from campaigns.models import Click, RejectedClick
from tests.market import acme, check, serve

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh_threads():
    yield
    for _ in range(click_lane.THREADS):
        click_lane._threads.submit(connections.close_all).result()
    check()


def request(path: str, *, method: str = "GET", headers: dict | None = None) -> tuple[int, dict[str, str]]:
    """Status and headers of what the site answers."""
    raw = {"host": "localhost", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in raw.items()],
        "client": ("8.8.8.8", 50_000),
        "server": ("127.0.0.1", 80),
    }
    sent, incoming = [], [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if incoming:
            return incoming.pop()
        await asyncio.sleep(60)  # the visitor stays

    async def send(message):
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    start = sent[0]
    return start["status"], {name.decode().lower(): value.decode() for name, value in start["headers"]}


SAME = ["location", "cache-control", "referrer-policy", "x-robots-tag", "x-content-type-options", "content-length"]
CASES = [
    ({}, "billed", "an ordinary click"),
    ({"sec-fetch-dest": "document"}, "billed", "a browser"),
    ({"sec-fetch-dest": "image"}, "prefetch", "an image"),
    ({"sec-purpose": "prefetch"}, "prefetch", "loaded ahead"),
    ({"user-agent": "Googlebot/2.1"}, "bot", "a robot"),
    ({"cookie": "visitor=forged"}, "billed", "a cookie we did not sign is none"),
    ({"cookie": 'odd; =; a="b; c'}, "billed", "a cookie nobody can read"),
]


@pytest.mark.parametrize(("headers", "expected", "why"), CASES)
@pytest.mark.parametrize("lane", ["short", "django"])
def test_both_lanes_record_the_same(monkeypatch, lane, headers, expected, why):
    ad = acme(bid=50)
    token = serve(ad, visitor="")
    if lane == "django":
        monkeypatch.setattr(click_lane, "PREFIX", "/nowhere/")
    status, answer = request(f"/c/{token}", headers=headers)
    assert (status, answer["location"]) == (302, ad.landing_url)
    assert {name: answer[name] for name in SAME} == {
        "location": ad.landing_url,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-robots-tag": "noindex",
        "x-content-type-options": "nosniff",
        "content-length": "0",
    }
    assert ("content-security-policy" in answer) == (lane == "django")  # it tells which lane answered
    assert [*["billed"] * Click.objects.count(), *RejectedClick.objects.values_list("reason", flat=True)] == [expected]
    if expected == "billed":
        assert len(Click.objects.get().network_hash) == 64


def test_the_visitor_is_known_in_the_short_lane():
    hash_, cookie = visitors.ensure_visitor(type("Request", (), {"COOKIES": {}})())
    token = serve(acme(bid=50), visitor=hash_)
    jar = http.cookies.SimpleCookie({visitors.COOKIE: cookie})
    request(f"/c/{token}")
    assert list(RejectedClick.objects.values_list("reason", flat=True)) == ["invalid"]
    request(f"/c/{token}", headers={"cookie": jar.output(header="").strip()})
    assert Click.objects.get().visitor_hash == hash_


@pytest.mark.parametrize(
    ("path", "method", "headers", "expected", "why"),
    [
        ("/c/{token}", "HEAD", {}, 302, "not a click"),
        ("/c/{token}", "POST", {}, 403, "no form of ours"),
        ("/c/{forged}", "GET", {}, 404, "never issued"),
        ("/c/{token}x", "GET", {}, 404, "a bad signature"),
        ("/c/{token}/", "GET", {}, 404, "another address"),
        ("/c/", "GET", {}, 404, "no token"),
        ("/c/{token}", "GET", {"host": "evil.example"}, 400, "not our host"),
        ("/c/{token}", "GET", {"cookie": "sessionid=x"}, 302, "somebody who may be logged in"),
    ],
)
def test_everything_unusual_is_left_to_django(path, method, headers, expected, why):
    path = path.format(token=serve(acme(bid=50), visitor=""), forged=tokens.sign(tokens.new_token_id()))
    status, answer = request(path, method=method, headers=headers)
    assert status == expected
    assert "content-security-policy" in answer or status == 400
    assert Click.objects.count() == (1 if "sessionid" in headers.get("cookie", "") else 0)


def test_https_is_required_in_the_short_lane_too(settings):
    settings.SECURE_SSL_REDIRECT = True
    scope, plain = {"scheme": "http"}, {"host": "localhost"}
    assert not click_lane._is_welcome(scope, plain)
    assert click_lane._is_welcome({"scheme": "https"}, plain)
    assert not click_lane._is_welcome(scope, plain | {"x-forwarded-proto": "https"})  # no proxy of ours
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert click_lane._is_welcome(scope, plain | {"x-forwarded-proto": "https"})
