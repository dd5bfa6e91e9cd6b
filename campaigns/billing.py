"""Clicks and the ledger: the only place where money moves.

A click is decided in this order, and the first reason that applies is the one recorded:

1. bot, prefetch: what the request's headers say (the caller looks at them);
2. duplicate: the link is already billed;
3. expired: by the database's clock;
4. invalid: the link was served to another browser;
5. inactive: the ad, its campaign or its advertiser is not running;
6. invalid: too many billed clicks within the hour from one browser or network;
7. over_budget: the total budget, the daily budget or the wallet does not cover the frozen bid;
8. otherwise billed, at the bid that stood in the prompt (Eq. 7), whatever the bid is now.

Nothing partial stays: click, transfer, campaign and wallet change together or not at all. Rows are locked in one order
everywhere: campaign, then wallet. Knows nothing of requests.
"""

import random
import time
from datetime import datetime

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F

from campaigns import tokens
from campaigns.auction.candidates import format_micros
from campaigns.auction.validation import MAX_BALANCE_MICROS, InvalidInput
from campaigns.charging import BILLED, ClickOutcome, decide_and_charge
from campaigns.clock import simulated
from campaigns.models import Account, Advertiser, Campaign, Transfer
from campaigns.tokens import InvalidToken

__all__ = ["BILLED", "ClickOutcome", "InvalidToken", "credit_charge", "deposit", "record_click", "withdraw"]

ATTEMPTS = 3  # at a click that met a deadlock or a serialisation failure; nothing else is repeated
_WORTH_REPEATING = {"40P01", "40001"}


def record_click(
    *,
    token: str,
    visitor_hash: str,
    network_hash: str = "",
    suspicion: str | None = None,
    at: datetime | None = None,
) -> ClickOutcome:
    """Records one measured click on a served link and charges it at most once, however often it is repeated.

    suspicion is a reason found in the request's headers. `at` is heeded for demo auctions only. Raises InvalidToken,
    and writes nothing, when we did not issue the token.
    """
    token_id = tokens.token_id(token)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            outcome = decide_and_charge(
                token_id=token_id,
                visitor_hash=visitor_hash,
                network_hash=network_hash,
                suspicion=suspicion,
                simulated_at=at,
            )
        except OperationalError as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state not in _WORTH_REPEATING or attempt == ATTEMPTS or connection.in_atomic_block:
                raise
            time.sleep(random.uniform(0, 0.02 * attempt))
        else:
            if outcome is None:
                raise InvalidToken("never issued")
            return outcome
    raise AssertionError("unreachable")


def deposit(
    *,
    advertiser: Advertiser,
    amount_micros: int,
    external_ref: str,
    note: str = "",
    created_by=None,
    at: datetime | None = None,
) -> Transfer:
    """Fills the wallet, once per external_ref: the payment's own reference. Repeating it returns the first transfer."""
    wallet, _ = Account.objects.get_or_create(kind=Account.Kind.WALLET, advertiser=advertiser)
    return _pay(
        kind=Transfer.Kind.DEPOSIT,
        debit=platform_account(Account.Kind.CLEARING),
        credit=wallet,
        amount_micros=amount_micros,
        external_ref=external_ref,
        note=note,
        created_by=created_by,
        at=at,
    )


def withdraw(
    *, advertiser: Advertiser, amount_micros: int, external_ref: str, note: str = "", created_by=None
) -> Transfer:
    """Pays money back out of the wallet, once per external_ref."""
    return _pay(
        kind=Transfer.Kind.WITHDRAWAL,
        debit=Account.objects.get(advertiser=advertiser),
        credit=platform_account(Account.Kind.CLEARING),
        amount_micros=amount_micros,
        external_ref=external_ref,
        note=note,
        created_by=created_by,
    )


def _pay(*, kind, debit: Account, credit: Account, amount_micros: int, external_ref: str, note, created_by, at=None):
    if type(amount_micros) is not int or not 1 <= amount_micros <= MAX_BALANCE_MICROS:
        raise InvalidInput(f"The amount is between {format_micros(1)} and {format_micros(MAX_BALANCE_MICROS)}.")
    if not external_ref:
        raise InvalidInput("Name the payment's reference, so that it is booked only once.")
    moment = {"created_at": at} if simulated(at) else {}
    facts = {"kind": kind, "debit_id": debit.pk, "credit_id": credit.pk, "amount_micros": amount_micros}
    try:
        with transaction.atomic():
            transfer = Transfer.objects.create(
                external_ref=external_ref, note=note, created_by=created_by, **facts, **moment
            )
            for account, change in ((debit, -amount_micros), (credit, amount_micros)):
                if account.kind == Account.Kind.WALLET:
                    _move(account, change)
            return transfer
    except IntegrityError:
        first = Transfer.objects.filter(external_ref=external_ref).first()
        if first is None:
            raise
        if any(getattr(first, name) != value for name, value in facts.items()):
            raise InvalidInput(f"Reference {external_ref} is already booked for another payment.") from None
        return first


def credit_charge(*, charge: Transfer, amount_micros: int | None = None, note: str = "", created_by=None) -> Transfer:
    """Gives a charge back, whole or in part, at most once; the charge itself stays in the books.

    The wallet gets the money and the campaign its total budget back. The daily budget does not come back: that day was
    used, and a day's spend must stay the sum of its charges.
    """
    amount_micros = charge.amount_micros if amount_micros is None else amount_micros
    if charge.kind != Transfer.Kind.CHARGE:
        raise InvalidInput("Only a charge can be credited.")
    if type(amount_micros) is not int or not 1 <= amount_micros <= charge.amount_micros:
        raise InvalidInput(f"The credit is between {format_micros(1)} and {format_micros(charge.amount_micros)}.")
    try:
        with transaction.atomic():
            credit = Transfer.objects.create(
                kind=Transfer.Kind.CREDIT,
                debit_id=charge.credit_id,
                credit_id=charge.debit_id,
                amount_micros=amount_micros,
                reverses=charge,
                note=note,
                created_by=created_by,
            )
            Campaign.objects.filter(ads__candidacies__impression__click=charge.click_id).update(
                spent_micros=F("spent_micros") - amount_micros
            )
            _move(charge.debit, amount_micros)
            return credit
    except IntegrityError:
        if Transfer.objects.filter(reverses=charge).exists():
            raise InvalidInput("This charge was already credited.") from None
        raise


def _move(wallet: Account, change: int) -> None:
    """Changes a wallet's balance by a transfer just written in the same transaction; refuses to leave its range."""
    moved = Account.objects.filter(
        pk=wallet.pk, balance_micros__gte=-change, balance_micros__lte=MAX_BALANCE_MICROS - max(change, 0)
    ).update(balance_micros=F("balance_micros") + change)
    if not moved:
        raise InvalidInput(
            "There is not enough money in the wallet."
            if change < 0
            else f"A wallet holds at most {format_micros(MAX_BALANCE_MICROS)}."
        )


def platform_account(kind: str) -> Account:
    """Clearing (the outside world) or revenue; the migrations opened both."""
    return Account.objects.get_or_create(kind=kind)[0]
