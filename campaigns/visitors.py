"""Who is asking, without a log-in: a random id in a signed cookie, known to the database only by its digest.

Knows nothing of accounts or log-ins, and the id is never stored.
"""

import hashlib
import secrets

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse

COOKIE = "visitor"
LIFETIME = 365 * 24 * 3600  # seconds
_MAX_LENGTH = 100


def visitor_hash(request: HttpRequest) -> str:
    """The digest that stands for this browser; blank when it sent no cookie of ours."""
    return hash_of_cookie(request.COOKIES.get(COOKIE, ""))


def hash_of_cookie(value: str) -> str:
    """The digest of a cookie's value; blank when we did not sign it."""
    if not value or len(value) > _MAX_LENGTH:
        return ""
    try:
        return _digest(_signer().unsign(value))
    except BadSignature:
        return ""


def ensure_visitor(request: HttpRequest) -> tuple[str, str | None]:
    """The digest, and the cookie value to set when this browser had none."""
    if known := visitor_hash(request):
        return known, None
    visitor_id = secrets.token_hex(16)
    return _digest(visitor_id), cookie_for(visitor_id)


def cookie_for(visitor_id: str) -> str:
    return _signer().sign(visitor_id)


def set_visitor_cookie(response: HttpResponse, value: str) -> None:
    response.set_cookie(
        COOKIE, value, max_age=LIFETIME, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
    )


def _digest(visitor_id: str) -> str:
    return hashlib.sha256(visitor_id.encode()).hexdigest()


def _signer() -> Signer:
    return Signer(salt="campaigns.visitor", sep=".")
