"""Behind an answer, for stakeholders: candidates and bids, what was inserted, what it cost, the exact prompt."""

from dataclasses import dataclass
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from campaigns.auction.candidates import Candidate
from campaigns.models import AuctionCandidate, RejectedClick
from campaigns.visitors import visitor_hash
from chat.access import is_stakeholder
from chat.adllm.markup import FormatError
from chat.adllm.prompts import ad_prompt
from chat.models import Turn
from chat.transcript import visitors_turn

FORMAT_ERRORS = {
    FormatError.half_marker: "marker begun and not closed",
    FormatError.missing_id: "title without an id",
    FormatError.stray_id: "id without a title",
    FormatError.unknown_id: "id of no candidate",
    FormatError.wrong_title: "title that is not the id's",
    FormatError.over_cap: "more ads than an answer may show",
    FormatError.leaked_prompt: "line of the candidate list, cut",
    FormatError.endless: "more signs than an answer may hold, the rest dropped",
}
SORTS = {  # address parameter -> how rows are ordered
    "bid": lambda row: (-row.bid_micros, row.ad_id),
    "ad": lambda row: row.ad_id,
    "title": lambda row: row.title.casefold(),
    "inserted": lambda row: (row.position or 1_000, -row.bid_micros),
}


@dataclass(frozen=True)
class PanelRow:
    """One candidate. `position` is its place among the answer's ads, charged and rejected tell of the clicks so far."""

    ad_id: str
    title: str
    bid_micros: int
    position: int | None
    charged_micros: int | None
    rejected: tuple[str, ...]


@require_safe
@never_cache
def turn_panel(request: HttpRequest, turn_id: UUID) -> HttpResponse:
    if not is_stakeholder(request.user):
        raise Http404
    if request.user.is_staff:
        turn = get_object_or_404(Turn.objects.select_related("conversation", "model_version"), pk=turn_id)
    else:
        turn = visitors_turn(turn_id=turn_id, visitor=visitor_hash(request))
    sort = request.GET.get("sort") if request.GET.get("sort") in SORTS else "bid"
    rows = _rows(turn)
    context = {
        "turn": turn,
        "rows": sorted(rows, key=SORTS[sort]),
        "sort": sort,
        "inserted": sorted((row for row in rows if row.position), key=lambda row: row.position),
        "format_errors": [(FORMAT_ERRORS.get(kind, kind), count) for kind, count in turn.format_errors.items()],
        "prompt": _prompt(turn, rows),
    }
    return render(request, "chat/_panel.html" if request.htmx else "chat/panel.html", context)


def _rows(turn: Turn) -> list[PanelRow]:
    """The candidates in the order they stood in the prompt."""
    candidates = AuctionCandidate.objects.filter(auction=turn.auction_id).order_by("ad__public_id")
    candidates = candidates.select_related("ad", "impression__click").prefetch_related("impression__rejected_clicks")
    return [_row(candidate) for candidate in candidates]


def _row(candidate: AuctionCandidate) -> PanelRow:
    impression = getattr(candidate, "impression", None)
    click = getattr(impression, "click", None)
    rejected = impression.rejected_clicks.all() if impression else ()
    return PanelRow(
        ad_id=candidate.ad.public_id,
        title=candidate.title,
        bid_micros=candidate.bid_micros,
        position=impression.position if impression else None,
        charged_micros=click.charged_micros if click else None,
        rejected=tuple(RejectedClick.Reason(one.reason).label for one in rejected),
    )


def _prompt(turn: Turn, rows: list[PanelRow]) -> str:
    """What the model read, built again from the frozen candidates by the function that built it."""
    candidates = [Candidate(ad_id=row.ad_id, title=row.title, bid_micros=row.bid_micros) for row in rows]
    return ad_prompt(query=turn.query, profile=turn.profile, candidates=candidates) if turn.auction_id else ""
