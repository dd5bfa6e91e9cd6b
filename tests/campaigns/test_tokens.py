"""A link's token: accepted exactly as issued, refused in every other form."""

import random
import string
import time
from contextlib import suppress

import pytest
from django.core.signing import Signer

from campaigns import tokens
from campaigns.tokens import InvalidToken

ALPHABET = string.ascii_letters + string.digits + "-_.=:/%+ \x00é"


def test_token_holds_the_id_and_a_signature_alone():
    token_id = tokens.new_token_id()
    token = tokens.sign(token_id)
    assert len(token_id) * 4 == 128  # bits
    assert tokens.token_id(token) == token_id
    assert len(token) <= tokens.MAX_LENGTH
    assert set(token) <= set(string.ascii_letters + string.digits + "-_.")  # safe in a path


def test_token_ids_do_not_repeat():
    assert len({tokens.new_token_id() for _ in range(10_000)}) == 10_000


def mutations(token: str, *, count: int, seed: int):
    """Forged tokens: cut, bits flipped, decorated, parts exchanged, characters changed and added."""
    dice = random.Random(seed)
    other = tokens.sign(tokens.new_token_id())
    body, signature = token.split(".")
    yield from (token[:i] for i in range(len(token)))
    for i, char in enumerate(token):
        yield from (token[:i] + chr(ord(char) ^ 1 << bit) + token[i + 1 :] for bit in range(8))
    yield from (
        token.upper(),
        token.title(),
        token[::-1],
        token * 2,
        f"{token}=",
        f"{token}.",
        f" {token}",
        f"{token}\n",
    )
    yield from (body, signature, f"{body}..{signature}", f"{signature}.{body}")
    yield from (body + other[32:], other[:33] + signature)
    for _ in range(count):
        place = dice.randrange(len(token))
        yield token[:place] + dice.choice(ALPHABET) + token[place + dice.choice([0, 1]) :]


def test_no_mutated_token_is_accepted():  # M7
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    token = tokens.sign(tokens.new_token_id())
    forged = {text for text in mutations(token, count=3000, seed=seed) if text != token}
    assert len(forged) >= 2000
    accepted = []
    for text in forged:
        with suppress(InvalidToken):
            accepted.append(tokens.token_id(text))
    assert accepted == []


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "empty"),
        ("." * 76, "points only"),
        ("a" * 1_000_000, "huge"),
        (None, "no text"),
        (b"abc.def", "bytes"),
        (12, "a number"),
        ("\ud800" * 76, "lone surrogates"),
        ("é" * 76, "not ASCII"),
        ("00000000000000000000000000000000." + "A" * 43, "a guessed signature"),
    ],
)
def test_what_is_no_token_is_refused(token, reason):  # M7
    with pytest.raises(InvalidToken):
        tokens.token_id(token)


def test_signature_for_another_purpose_is_refused():  # M7: other salt, other key
    token_id = tokens.new_token_id()
    for signer in (Signer(sep="."), Signer(salt="campaigns.visitor", sep="."), Signer(key="mallory's", sep=".")):
        with pytest.raises(InvalidToken):
            tokens.token_id(signer.sign(token_id))


def test_tokens_outlive_a_rotated_key(settings):  # M7
    token = tokens.sign(tokens.new_token_id())
    old, settings.SECRET_KEY = settings.SECRET_KEY, "new" * 20
    with pytest.raises(InvalidToken):
        tokens.token_id(token)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert tokens.token_id(token)


def test_a_megabyte_is_refused_at_once():  # M7
    began = time.perf_counter()
    with pytest.raises(InvalidToken):
        tokens.token_id("a" * 1_000_000)
    assert time.perf_counter() - began < 0.05
