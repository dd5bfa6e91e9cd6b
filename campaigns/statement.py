"""An advertiser's statement: every movement of money of its wallet, with the balance it left behind.

The lines are the ledger's transfers and nothing else, in the order in which they were booked, so their sum is the
wallet's balance, exactly.
"""

from django.db.models import BigIntegerField, Case, F, Q, QuerySet, Sum, When, Window
from django.db.models.functions import Cast

from campaigns.models import Account, Transfer


def statement_lines(wallet: Account) -> QuerySet[Transfer]:
    """The wallet's transfers, newest first, each with signed_micros and the balance_micros after it."""
    signed = Case(When(credit=wallet, then=F("amount_micros")), default=-F("amount_micros"))
    return (
        _transfers(wallet)
        .annotate(signed_micros=signed)
        .annotate(balance_micros=Cast(Window(Sum("signed_micros"), order_by="pk"), BigIntegerField()))
        .select_related("click__impression__candidate__ad", "reverses__click__impression__candidate__ad")
        .order_by("-pk")
    )


def about(line: Transfer) -> str:
    """What a line was for, in words."""
    words = []
    charge = line.reverses if line.kind == Transfer.Kind.CREDIT else line
    if line.kind in (Transfer.Kind.CHARGE, Transfer.Kind.CREDIT):
        candidate = charge.click.impression.candidate
        words.append(f"“{candidate.title}” [{candidate.ad.public_id}]")
    return " · ".join(filter(None, [*words, line.external_ref, line.note]))


def sums_by_kind(wallet: Account) -> dict[str, int]:
    """What each kind of transfer has added up to, in signed micros; together they are the balance."""
    sums = dict.fromkeys(Transfer.Kind.values, 0)
    for row in _transfers(wallet).values("kind", "credit").annotate(amount=Sum("amount_micros")).order_by():
        sums[row["kind"]] += int(row["amount"]) if row["credit"] == wallet.pk else -int(row["amount"])
    return sums


def _transfers(wallet: Account) -> QuerySet[Transfer]:
    return Transfer.objects.filter(Q(credit=wallet) | Q(debit=wallet))
