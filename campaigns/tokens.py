"""The token a served link carries: the impression's 128 random bits, signed. It holds no price and names no advertiser.

The signature keeps guesses away from the database; that a token was issued, and what its click costs, only the database
knows. Links outlive a rotation of SECRET_KEY as long as the old key stands in SECRET_KEY_FALLBACKS.
"""

import secrets

from django.core.signing import BadSignature, Signer

MAX_LENGTH = 100  # ours have 76 characters; longer ones are refused unread
_SALT = "campaigns.served-link"


class InvalidToken(ValueError):
    """The token was not issued by us, or not in this form."""


def new_token_id() -> str:
    return secrets.token_hex(16)


def sign(token_id: str) -> str:
    """The link's token: the id, a point, and the signature; safe in a path without escapes."""
    return _signer().sign(token_id)


def token_id(token: str) -> str:
    """The id in a token, if its signature is ours."""
    if not isinstance(token, str) or len(token) > MAX_LENGTH or not token.isascii():
        raise InvalidToken("not a token")
    try:
        return _signer().unsign(token)
    except BadSignature:
        raise InvalidToken("bad signature") from None


def _signer() -> Signer:
    return Signer(salt=_SALT, sep=".")  # made anew each time: it reads the keys from the settings
