"""The click route: whom it charges, whom it only sends on, and what it answers when it can do neither."""

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client

from campaigns import clicks, visitors
from campaigns.models import Click, RejectedClick
from tests.market import acme, check, serve

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
PERSON = {
    "User-Agent": CHROME,
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}

PEOPLE = [
    (PERSON, "a browser follows a link"),
    ({}, "no headers at all: an old or careful browser"),
    ({"User-Agent": CHROME}, "a browser without fetch metadata"),
    (
        {"User-Agent": "Mozilla/5.0 (Linux; Android 13; CUBOT P80) Chrome/120.0 Mobile Safari/537.36"},
        "a Cubot telephone",
    ),
    ({"User-Agent": "Mozilla/5.0 (Windows NT 10.0; rv:132.0) Gecko/20100101 Firefox/132.0"}, "Firefox"),
    ({"User-Agent": "Lynx/2.8.9rel.1 libwww-FM/2.14"}, "a text browser"),
    ({"User-Agent": "python-httpx/0.28"}, "an application follows the link for its user"),
    ({**PERSON, "Sec-Fetch-Site": "none"}, "typed or from a bookmark"),
    ({**PERSON, "Sec-Fetch-User": "?1"}, "with a gesture"),
    ({**PERSON, "Purpose": ""}, "an empty purpose"),
    ({**PERSON, "DNT": "1", "Sec-GPC": "1"}, "prefers privacy"),
    ({**PERSON, "Referer": "https://elsewhere.example/bot"}, "only the user agent tells of bots"),
]
LOADED_AHEAD = [
    ({"Sec-Purpose": "prefetch"}, "Chrome, Firefox"),
    ({"Sec-Purpose": "prefetch;prerender"}, "Chrome prerenders"),
    ({"Sec-Purpose": "prefetch;anonymous-client-ip"}, "Chrome's proxy"),
    ({"Sec-Purpose": "PREFETCH"}, "in capitals"),
    ({"Purpose": "prefetch"}, "older Chrome"),
    ({"Purpose": "preview"}, "older Safari"),
    ({"X-Purpose": "preview"}, "Safari's top sites"),
    ({"X-Moz": "prefetch"}, "older Firefox"),
    ({"Purpose": "prerender"}, "Edge"),
    *[
        ({"Sec-Fetch-Dest": dest}, "not a page of its own")
        for dest in [
            *["image", "iframe", "frame", "embed", "object", "script", "style", "font", "audio", "video", "track"],
            *[
                "empty",
                "worker",
                "sharedworker",
                "serviceworker",
                "manifest",
                "report",
                "xslt",
                "audioworklet",
                "fencedframe",
            ],
            *["Image", "", "unheard-of"],
        ]
    ],
]
ROBOTS = [
    ({"User-Agent": agent}, "says it is one")
    for agent in [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "WhatsApp/2.23.20.0",
        "TelegramBot (like TwitterBot)",
        "Twitterbot/1.0",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0)",
        "Mozilla/5.0 (Windows NT 6.1) SkypeUriPreview Preview/0.5",
        "Mozilla/5.0 (compatible; YandexBot/3.0)",
        "Mozilla/5.0 (compatible; Baiduspider/2.0)",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0)",
        "DuckDuckBot/1.1",
        "Mozilla/5.0 (compatible; Yahoo! Slurp)",
        "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "Mozilla/5.0 (compatible; ClaudeBot/1.0)",
        "CCBot/2.0 (https://commoncrawl.org/faq/)",
        "Mozilla/5.0 (compatible; UptimeRobot/2.0)",
        "Pingdom.com_bot_version_1.4",
        "Mozilla/5.0 (compatible; archive.org_bot)",
        "Scrapy/2.11 (+https://scrapy.org)",
        "Mozilla/5.0 zgrab/0.x",
        "sqlmap/1.8",
        f"{CHROME} Chrome-Lighthouse",
    ]
]
CASES = [
    *[(headers, "billed", why) for headers, why in PEOPLE],
    *[({**PERSON, **headers}, "prefetch", why) for headers, why in LOADED_AHEAD],
    *[({**PERSON, **headers}, "bot", why) for headers, why in ROBOTS],
]


@pytest.mark.parametrize(("headers", "expected", "why"), CASES)
def test_headers_tell_people_from_programs(headers, expected, why):  # M8
    lower = {name.lower(): value for name, value in headers.items()}
    assert (clicks.suspicion("GET", lower) or "billed") == expected


def test_there_are_many_header_cases():
    assert len(CASES) >= 40


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("headers", "expected"), [(PERSON, "billed"), ({"Sec-Purpose": "prefetch"}, "prefetch"), (ROBOTS[0][0], "bot")]
)
def test_everybody_is_sent_on_and_only_people_are_charged_for(client, headers, expected):  # M8
    ad = acme()
    response = client.get(f"/c/{serve(ad, visitor='')}", headers=headers)
    assert (response.status_code, response["Location"]) == (302, ad.landing_url)
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    assert "X-Click-Outcome" not in response
    assert Click.objects.count() == (expected == "billed")
    assert list(RejectedClick.objects.values_list("reason", flat=True)) == ([] if expected == "billed" else [expected])
    check()


@pytest.mark.django_db
def test_head_is_not_charged(client):  # M8
    ad = acme()
    token = serve(ad, visitor="")
    assert client.head(f"/c/{token}")["Location"] == ad.landing_url
    assert not Click.objects.exists()
    assert client.get(f"/c/{token}").status_code == 302
    assert Click.objects.count() == 1
    check()


@pytest.mark.django_db
def test_link_loaded_ahead_is_charged_when_it_is_followed(client):  # M8
    token = serve(acme(), visitor="")
    client.get(f"/c/{token}", headers={"Sec-Purpose": "prefetch"})
    client.get(f"/c/{token}", headers=PERSON)
    assert Click.objects.count() == 1
    check()


@pytest.mark.django_db
def test_answer_that_was_lost_is_repeated_free(client):  # M4: the visitor clicks again
    ad = acme()
    token = serve(ad, visitor="")
    for _ in range(3):
        assert client.get(f"/c/{token}")["Location"] == ad.landing_url
    assert Click.objects.count() == 1
    assert RejectedClick.objects.filter(reason="duplicate").count() == 2
    check()


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_other_methods_are_refused(client, method):
    token = serve(acme(), visitor="")
    assert getattr(client, method)(f"/c/{token}").status_code == 405
    assert not RejectedClick.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "token", ["x", "x" * 100_000, "%00", "%F0%9F%8D%8C", "https:%2F%2Fevil.example", "..%2f..%2fetc", "a.b", "." * 76]
)
def test_bad_token_is_not_found_and_redirects_nowhere(client, token):  # M7
    response = client.get(f"/c/{token}")
    assert response.status_code == 404
    assert "Location" not in response
    assert not Click.objects.exists()
    assert not RejectedClick.objects.exists()


@pytest.mark.django_db
def test_visitor_who_asked_is_charged_for_and_others_are_not():  # M7: other session
    alice, mallory = Client(), Client()
    cookies = {}
    for name, browser in (("alice", alice), ("mallory", mallory)):
        hash_, cookies[name] = visitors.ensure_visitor(browser.get("/c/x").wsgi_request)
        browser.cookies[visitors.COOKIE] = cookies[name]
        if name == "alice":
            token = serve(acme(), visitor=hash_)
    assert mallory.get(f"/c/{token}").status_code == 302
    assert not Click.objects.exists()
    alice.get(f"/c/{token}")
    assert Click.objects.count() == 1
    check()


@pytest.mark.django_db
def test_staff_are_told_the_outcome(client, admin_client, alice):
    token = serve(acme(), visitor="")
    assert admin_client.get(f"/c/{token}")["X-Click-Outcome"] == "billed"
    assert admin_client.get(f"/c/{token}")["X-Click-Outcome"] == "duplicate"
    client.force_login(alice)
    assert "X-Click-Outcome" not in client.get(f"/c/{token}")


@pytest.mark.django_db
def test_without_a_database_nobody_is_redirected_or_charged(client):  # M18
    token = serve(acme(), visitor="")

    def refuse(*args, **kwargs):
        raise OperationalError("the database is away")

    with connection.execute_wrapper(refuse):
        response = client.get(f"/c/{token}")
    assert (response.status_code, response["Retry-After"], response["Cache-Control"]) == (503, "5", "no-store")
    assert "Location" not in response
    assert not Click.objects.exists()


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "", "192.0.2.1"),
        (0, "198.51.100.7", "192.0.2.1"),  # nobody may say so
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),  # the left one is made up
        (2, "203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "198.51.100.7", "192.0.2.1"),  # came past our outer proxy
        (1, "", "192.0.2.1"),
    ],
)
def test_address_is_what_our_own_proxy_saw(settings, proxies, forwarded, expected):
    settings.TRUSTED_PROXY_COUNT = proxies
    assert clicks.client_address("192.0.2.1", forwarded) == expected


def test_network_is_a_digest_of_neighbours():
    assert clicks.network_hash("8.8.8.8") == clicks.network_hash("8.8.8.200") == clicks.network_hash("::ffff:8.8.8.9")
    assert clicks.network_hash("8.8.8.8") != clicks.network_hash("8.8.9.8")
    assert clicks.network_hash("2a00:1450:4001::1") == clicks.network_hash("2a00:1450:4001:ffff::2")
    assert len(clicks.network_hash("8.8.8.8")) == 64
    for address in (
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "::1",
        "fe80::1",
        "",
        "unknown",
        "8.8.8.8:443",
        "testserver",
    ):
        assert clicks.network_hash(address) == ""


@pytest.mark.django_db(transaction=True)
def test_clicks_go_on_after_the_database_was_restarted(client):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server to restart")
    token = serve(acme(), visitor="")
    connection.close()
    where = connection.settings_dict
    with psycopg.connect(
        host=where["HOST"], port=where["PORT"], user=where["USER"], password=where["PASSWORD"], dbname=where["NAME"]
    ) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    statuses = []
    for _ in range(3):
        statuses.append(client.get(f"/c/{token}").status_code)
        connection.close()  # as at the end of every request outside of tests
    assert statuses == [503, 302, 302]  # one visitor is asked to try again, not one per pooled connection
    check()
