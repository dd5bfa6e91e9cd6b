"""What a visitor may do about an ad in an answer: hide it from now on, or report it to staff."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from campaigns.models import Ad
from campaigns.visitors import visitor_hash
from chat.forms import ReportForm
from chat.models import AdReport, HiddenAd, Turn
from chat.transcript import visitors_turn
from chat.views import turn_context


@require_POST
def ad_hide(request: HttpRequest, turn_id: UUID, ad_id: str) -> HttpResponse:
    """Hides the ad at once and from all later answers; with `undo`, shows it again."""
    turn, ad = _shown_ad(request, turn_id, ad_id)
    hidden = {"visitor_hash": turn.conversation.visitor_hash, "ad": ad}
    if request.POST.get("undo"):
        HiddenAd.objects.filter(**hidden).delete()
    else:
        HiddenAd.objects.get_or_create(**hidden)
    return _turn(request, turn)


@require_POST
def ad_report(request: HttpRequest, turn_id: UUID, ad_id: str) -> HttpResponse:
    """Keeps one complaint per ad and turn; a second one replaces the first and opens it again."""
    turn, ad = _shown_ad(request, turn_id, ad_id)
    form = ReportForm(request.POST)
    context = {"turn": turn, "ad_id": ad.public_id, "report_form": form, "reported": form.is_valid()}
    if form.is_valid():
        AdReport.objects.update_or_create(turn=turn, ad=ad, defaults={**form.cleaned_data, "resolved_at": None})
    if request.htmx:
        return render(request, "chat/_report.html", context, status=200 if form.is_valid() else 422)
    for error in [error for errors in form.errors.values() for error in errors]:
        messages.error(request, f"The report was not sent. {error}")
    if form.is_valid():
        messages.success(request, "Thank you. Your report was sent.")
    return _turn(request, turn)


def _shown_ad(request: HttpRequest, turn_id: UUID, ad_id: str) -> tuple[Turn, Ad]:
    """The ad, if it stands in an answer to this visitor."""
    turn = visitors_turn(turn_id=turn_id, visitor=visitor_hash(request))
    ad = Ad.objects.filter(public_id=ad_id, candidacies__auction=turn.auction_id, candidacies__impression__isnull=False)
    if not turn.auction_id or not (shown := ad.first()):
        raise Http404
    return turn, shown


def _turn(request: HttpRequest, turn: Turn) -> HttpResponse:
    if request.htmx:
        return render(request, "chat/_turn.html", turn_context(request, turn))
    return redirect(f"{reverse('conversation', args=[turn.conversation_id])}?turn={turn.pk}#turn-{turn.pk}")
