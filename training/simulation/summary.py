"""The figures of a run: what was shown, what was clicked, what it is worth. Knows no engine and no file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chat.adllm import markup
from training.dataset.penalty import penalty
from training.dataset.records import Ad, Auction, Feedback, Response
from training.simulation.clicks_by_bid import ClicksByBid


@dataclass
class _OneQuery:
    """What happened in the answers to one query, by ad."""

    answers: int = 0
    shown: Counter[str] = field(default_factory=Counter)
    clicks: Counter[str] = field(default_factory=Counter)
    ctr: Counter[str] = field(default_factory=Counter)  # sums of chances

    def close(self, auction: Auction | None, by_bid: ClicksByBid) -> None:
        if auction is not None:
            by_bid.add(auction, answers=self.answers, shown=self.shown, clicks=self.clicks, ctr=self.ctr)


def summarize(rows: Iterable[tuple[Auction, Response, Feedback]], *, ads: Mapping[str, Ad]) -> dict[str, Any]:
    """Figures over all answers, each given with its auction and its feedback; answers of one query stand together.

    `revenue_per_query` is the mean over answers of the sum of b * c, the paper's revenue. Rewards are means of Eq. 8
    with lambda 1: `reward_from_clicks` takes the drawn click, 0 or 1, for the pctr, `reward_from_ctr` the user's true
    chance of a click (None where the click model does not know it). `reward_per_query` takes what is known of each ad;
    `reward_ctr` says which: "true", "clicked" or "mixed". N_ad and format errors are markup's, with no cap on the
    number of ads.
    """
    shown: Counter[str] = Counter()
    clicked: Counter[str] = Counter()
    places: Counter[int] = Counter()
    place_clicks: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    judge_errors: Counter[str] = Counter()
    n_ads_seen: Counter[int] = Counter()
    revenue = expected = costs = 0.0  # `expected` takes the true chance of a click where it is known
    known: set[bool] = set()
    by_bid = ClicksByBid()
    current, here = None, _OneQuery()

    for auction, response, feedback in rows:
        if auction is not current:
            here.close(current, by_bid)
            current, here = auction, _OneQuery()
        here.answers += 1
        candidates = auction.candidates(ads)
        parsed = markup.parse(response.text, candidates, max_ads=len(candidates))
        bids = dict(zip(auction.ad_ids, auction.bids, strict=True))
        costs += penalty(parsed)
        for ad in feedback.ads:
            shown[ad.ad_id] += 1
            places[ad.position] += 1
            known.add(ad.ctr is not None)
            here.shown[ad.ad_id] += 1
            here.ctr[ad.ad_id] += ad.ctr or 0.0
            expected += bids[ad.ad_id] * (ad.clicked if ad.ctr is None else ad.ctr)
            if ad.clicked:
                clicked[ad.ad_id] += 1
                place_clicks[ad.position] += 1
                here.clicks[ad.ad_id] += 1
                revenue += bids[ad.ad_id]
        n_ads_seen[parsed.n_ads] += 1
        errors.update({kind.value: count for kind, count in parsed.errors.items()})
        judge_errors.update(feedback.errors)
        counts["with_format_error"] += bool(parsed.errors)
        counts["cut"] += not response.finished
        counts["tokens"] += response.tokens
    here.close(current, by_bid)

    answers = sum(n_ads_seen.values())
    total_shown, total_clicks = shown.total(), clicked.total()
    return {
        "queries": len(by_bid.queries),
        "answers": answers,
        "tokens": counts["tokens"],
        "tokens_per_answer": _ratio(counts["tokens"], answers),
        "answers_cut": counts["cut"],
        "ads_shown": total_shown,
        "ads_per_answer": _ratio(total_shown, answers),
        "answers_by_n_ads": {str(n): n_ads_seen[n] for n in sorted(n_ads_seen)},
        "share_without_ads": _ratio(n_ads_seen[0], answers),
        "share_with_format_error": _ratio(counts["with_format_error"], answers),
        "format_errors": dict(sorted(errors.items())),
        "clicks": total_clicks,
        "ctr": _ratio(total_clicks, total_shown),
        "ctr_by_position": [
            {
                "position": at,
                "shown": places[at],
                "clicks": place_clicks[at],
                "ctr": _ratio(place_clicks[at], places[at]),
            }
            for at in sorted(places)
        ],
        "ctr_by_ad": [
            {
                "ad_id": ad_id,
                "title": ads[ad_id].title,
                "shown": count,
                "clicks": clicked[ad_id],
                "ctr": _ratio(clicked[ad_id], count),
            }
            for ad_id, count in sorted(shown.items(), key=lambda item: (-item[1], item[0]))
        ],
        "revenue_per_query": _ratio(revenue, answers),
        "reward_per_query": _ratio(expected - costs, answers),
        "reward_ctr": {frozenset({True}): "true", frozenset({False}): "clicked"}.get(frozenset(known), "mixed")
        if known
        else "none shown",
        "reward_from_clicks": _ratio(revenue - costs, answers),
        "reward_from_ctr": None if False in known else _ratio(expected - costs, answers),
        "clicks_by_bid": by_bid.figures(ctr_known=False not in known),
        "judge_errors": dict(sorted(judge_errors.items())),
    }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def told(figures: Mapping[str, Any], timing: Mapping[str, float]) -> str:
    """The figures as lines to read."""
    rate = f", {timing['tokens'] / timing['answers_s']:.0f} tokens/s" if timing.get("answers_s") else ""
    bid = figures["clicks_by_bid"]
    lines = [
        f"{figures['answers']} answers to {figures['queries']} queries, {figures['tokens']} tokens"
        f" ({figures['tokens_per_answer']} an answer, {figures['answers_cut']} cut){rate}",
        f"{figures['ads_per_answer']} ads an answer, {_percent(figures['share_without_ads'])} without any",
        f"format errors in {_percent(figures['share_with_format_error'])} of the answers: "
        + (_counts(figures["format_errors"]) or "none"),
        f"{figures['clicks']} clicks on {figures['ads_shown']} shown ads, CTR {_percent(figures['ctr'])}",
        "CTR by position: "
        + (", ".join(f"{row['position'] + 1}: {_percent(row['ctr'])}" for row in figures["ctr_by_position"]) or "none"),
        f"revenue {figures['revenue_per_query']} a query, reward (Eq. 8) {figures['reward_from_clicks']} by clicks, "
        + ("true CTR unknown" if (by_ctr := figures["reward_from_ctr"]) is None else f"{by_ctr} by true CTR"),
        "clicks against bid: "
        + (
            "too few queries"
            if bid["slope"] is None
            else f"slope {bid['slope']} +- {bid['standard_error']}{', within noise of 0' * bid['within_noise']}"
            f", rank correlation over bands {bid['rank_correlation']}"
        ),
        "clicks per 1,000 candidates, by bid: " + (", ".join(map(_band, bid["bands"])) or "none"),
        f"judge errors: {_counts(figures['judge_errors']) or 'none'}",
        "",
        "the ten ads shown most              shown  clicks    CTR",
    ]
    lines += [
        f"{row['ad_id']:<9} {row['title'][:25]:<25} {row['shown']:>5} {row['clicks']:>7} {_percent(row['ctr']):>6}"
        for row in figures["ctr_by_ad"][:10]
    ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _band(row: Mapping[str, Any]) -> str:
    return f"{row['bids'][0]}-{row['bids'][1]}: {1000 * row['clicks_per_answer']:.2f}"


def _counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in kinds.items())
