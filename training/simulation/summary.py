"""The figures of a run: what was shown, what was clicked, what it is worth. Knows no engine and no file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from chat.adllm import markup
from training.dataset.penalty import penalty
from training.dataset.records import Ad, Auction, Feedback, Response


@dataclass
class _BidSums:
    """The sums over one query's candidates that a regression of clicks on bids needs."""

    count: int = 0
    x: float = 0.0
    xx: float = 0.0
    y: float = 0.0
    xy: float = 0.0


def summarize(rows: Iterable[tuple[Auction, Response, Feedback]], *, ads: Mapping[str, Ad]) -> dict[str, Any]:
    """Figures over all answers, each given with its auction and its feedback; answers of one query stand together.

    `revenue_per_query` is the mean over answers of the sum of b * c, the paper's revenue. `reward_per_query` is the
    mean of Eq. 8 with lambda 1; its pctr is the user's true chance of a click where the click model knows it and the
    drawn click, 0 or 1, where it does not: `reward_ctr` says "true", "clicked" or "mixed". N_ad and format errors are
    markup's, with no cap on the number of ads.
    """
    shown: Counter[str] = Counter()
    clicked: Counter[str] = Counter()
    places: Counter[int] = Counter()
    place_clicks: Counter[int] = Counter()
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    judge_errors: Counter[str] = Counter()
    n_ads_seen: Counter[int] = Counter()
    revenue = reward = 0.0
    known: set[bool] = set()
    sums: list[_BidSums] = []
    current, auction_clicks, answers_here = None, Counter(), 0

    def close() -> None:
        if current is not None:
            sums.append(_bid_sums(current, auction_clicks, answers_here))

    for auction, response, feedback in rows:
        if auction is not current:
            close()
            current, auction_clicks, answers_here = auction, Counter(), 0
        answers_here += 1
        candidates = auction.candidates(ads)
        parsed = markup.parse(response.text, candidates, max_ads=len(candidates))
        bids = dict(zip(auction.ad_ids, auction.bids, strict=True))
        value = -penalty(parsed)
        for ad in feedback.ads:
            shown[ad.ad_id] += 1
            places[ad.position] += 1
            known.add(ad.ctr is not None)
            value += bids[ad.ad_id] * (ad.clicked if ad.ctr is None else ad.ctr)
            if ad.clicked:
                clicked[ad.ad_id] += 1
                place_clicks[ad.position] += 1
                auction_clicks[ad.ad_id] += 1
                revenue += bids[ad.ad_id]
        reward += value
        n_ads_seen[parsed.n_ads] += 1
        errors.update({kind.value: count for kind, count in parsed.errors.items()})
        judge_errors.update(feedback.errors)
        counts["with_format_error"] += bool(parsed.errors)
        counts["cut"] += not response.finished
        counts["tokens"] += response.tokens
    close()

    answers = sum(n_ads_seen.values())
    total_shown, total_clicks = shown.total(), clicked.total()
    return {
        "queries": len(sums),
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
        "reward_per_query": _ratio(reward, answers),
        "reward_ctr": {frozenset({True}): "true", frozenset({False}): "clicked"}.get(frozenset(known), "mixed")
        if known
        else "none shown",
        "clicks_by_bid": slope(sums),
        "judge_errors": dict(sorted(judge_errors.items())),
    }


def slope(sums: Iterable[_BidSums]) -> dict[str, float | None]:
    """Do clicks rise with bids? Least squares of an ad's clicks per answer on its bid, over all candidates (Fig. 4a).

    An ad that was not shown was not clicked. One unit is one unit of the bid. The standard error takes the candidates
    of one query as one draw, since they share answers; None with fewer than three queries.
    """
    groups = list(sums)
    count = sum(g.count for g in groups)
    if len(groups) < 3 or not count:
        return {"slope": None, "standard_error": None, "t": None}
    x, y = sum(g.x for g in groups) / count, sum(g.y for g in groups) / count
    spread = sum(g.xx for g in groups) - count * x * x
    if spread <= 0:
        return {"slope": None, "standard_error": None, "t": None}
    b = (sum(g.xy for g in groups) - count * x * y) / spread
    # Residual e = y_i - y - b (x_i - x); the score of a query is the sum of (x_i - x) e.
    scores = ((g.xy - x * g.y) - y * (g.x - x * g.count) - b * (g.xx - 2 * x * g.x + x * x * g.count) for g in groups)
    error = sqrt(sum(score * score for score in scores) * len(groups) / (len(groups) - 1)) / spread
    return {
        "slope": float(f"{b:.6g}"),
        "standard_error": float(f"{error:.6g}"),
        "t": round(b / error, 3) if error else None,
    }


def _bid_sums(auction: Auction, clicks: Mapping[str, int], answers: int) -> _BidSums:
    found = _BidSums()
    for ad_id, bid in zip(auction.ad_ids, auction.bids, strict=True):
        rate = clicks.get(ad_id, 0) / answers
        found.count += 1
        found.x += bid
        found.xx += bid * bid
        found.y += rate
        found.xy += bid * rate
    return found


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
        f"revenue {figures['revenue_per_query']} a query, reward (Eq. 8, ctr: {figures['reward_ctr']})"
        f" {figures['reward_per_query']}",
        "clicks against bid: "
        + ("too few queries" if bid["slope"] is None else f"slope {bid['slope']} +- {bid['standard_error']}"),
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


def _counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in kinds.items())
