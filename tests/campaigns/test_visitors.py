"""The visitor cookie: one browser, one digest, nobody else's."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from campaigns import visitors


def request_with(cookie: str | None):
    request = RequestFactory().get("/")
    if cookie is not None:
        request.COOKIES[visitors.COOKIE] = cookie
    return request


def test_new_browser_gets_a_cookie_and_keeps_its_digest():
    digest, cookie = visitors.ensure_visitor(request_with(None))
    assert visitors.ensure_visitor(request_with(cookie)) == (digest, None)
    assert visitors.visitor_hash(request_with(cookie)) == digest
    assert len(digest) == 64
    assert digest not in cookie


def test_two_browsers_differ():
    assert len({visitors.ensure_visitor(request_with(None))[0] for _ in range(100)}) == 100


@pytest.mark.parametrize("cookie", ["", "x", "a" * 32, "a" * 32 + "." + "b" * 43, "x" * 100_000, "é.é"])
def test_cookie_we_did_not_sign_is_nobody(cookie):
    assert visitors.visitor_hash(request_with(cookie)) == ""
    assert visitors.ensure_visitor(request_with(cookie))[1]  # and is replaced


def test_cookie_is_out_of_reach_of_scripts(settings):
    settings.SESSION_COOKIE_SECURE = True
    response = HttpResponse()
    visitors.set_visitor_cookie(response, "value")
    cookie = response.cookies[visitors.COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", True)
    assert cookie["max-age"] == 365 * 24 * 3600
