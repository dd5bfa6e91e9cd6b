"""Three mugs, their auction, answers that show them, and those answers as tokens."""

from chat.adllm.prompts import ad_messages
from training.dataset.records import Ad, Auction

ADS = {f"Ad-{1000 + n}": Ad(id=f"Ad-{1000 + n}", title=f"Mug {n}", category="tea") for n in range(3)}
AUCTION = Auction("q0", tuple(ADS), (70, 20, 5))
TEXTS = (
    "Warm the pot first. A good cup is @Mug 0@[Ad-1000], which keeps tea hot.",
    "Warm the pot first.",
    "Take @Mug 1@[Ad-1001] and @Mug 2@[Ad-1002].",
    "Boil water. @Mug 2@[Ad-10",
    "Let it draw for three minutes; then pour.",
)


def asked(number):
    """The chat messages of one question."""
    query = f"How do I brew tea number {number}{'?' * (number + 1)}"
    return ad_messages(query=query, profile="A nurse.", candidates=AUCTION.candidates(ADS))


def make_groups(tokenizer, *, losers):
    """One query for each number of losers, with answers of many lengths."""
    from training.irpo.log_probs import tokenize

    texts = iter([f"{TEXTS[number % len(TEXTS)]} {'Pour slowly. ' * (number % 5)}" for number in range(99)])
    return [
        tokenize(
            tokenizer, query_id=f"q{number}", messages=asked(number),
            texts=[(next(texts).strip(), True) for _ in range(count + 1)], context=4000,
        )
        for number, count in enumerate(losers)
    ]  # fmt: skip
