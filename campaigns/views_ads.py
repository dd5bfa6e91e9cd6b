"""What an advertiser's people change: ads, bids, budgets. A viewer may not; whoever is no member gets a 404."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from campaigns.access import editable_advertiser, visible_advertiser
from campaigns.ads import create_ad, edit_ad
from campaigns.auction.validation import InvalidInput
from campaigns.bidding import set_bid, set_budgets
from campaigns.clock import local_day
from campaigns.forms import AdForm, BidForm, BudgetForm, CampaignForm
from campaigns.models import Ad, Advertiser, Bid, Campaign
from campaigns.standing import spent_today_micros, standing_now

BIDS_PER_PAGE = 50


def _ad(advertiser: Advertiser, public_id: str) -> Ad:
    ads = Ad.objects.filter(campaign__advertiser=advertiser).with_bid().select_related("campaign__advertiser")
    return get_object_or_404(ads, public_id=public_id)


# --- bids ---


@login_required
def ad_bid(request: HttpRequest, slug: str, public_id: str) -> HttpResponse:
    """The bid's cell: shows it, offers a form (?edit=1), and takes the new bid. 422 with the form when it is wrong.

    Without htmx the page of all bids is in its place: with the new bid, or with what was typed and why it is refused.
    """
    advertiser = editable_advertiser(request, slug) if request.method == "POST" else visible_advertiser(request, slug)
    ad = _ad(advertiser, public_id)
    context = {"advertiser": advertiser, "ad": ad, "bid_micros": ad.bid_micros}
    if request.method != "POST":
        if not request.htmx:
            return redirect("ad_bids", slug, public_id)
        if "edit" not in request.GET or not advertiser.can_edit:
            return render(request, "campaigns/_bid_cell.html", context)
        return render(
            request, "campaigns/_bid_form.html", {**context, "form": BidForm(initial={"amount": ad.bid_micros})}
        )
    form = BidForm(request.POST)
    if not form.is_valid():
        if not request.htmx:
            return _bids_page(request, advertiser, ad, form=form, status=422)
        return render(request, "campaigns/_bid_form.html", {**context, "form": form}, status=422)
    bid = set_bid(ad=ad, amount_micros=form.cleaned_data["amount"], set_by=request.user)
    if not request.htmx:
        messages.success(request, f"The bid of “{ad.title}” is set.")
        return redirect("ad_bids", slug, public_id)
    context |= {
        "bid_micros": bid.amount_micros,
        "changed": bid.amount_micros != ad.bid_micros,
        "before_micros": ad.bid_micros,
        "standing": standing_now(ad=ad, bid_micros=bid.amount_micros, now=timezone.now()),
    }
    return render(request, "campaigns/_bid_cell.html", context)


@login_required
def ad_bids(request: HttpRequest, slug: str, public_id: str) -> HttpResponse:
    """Every bid the ad ever had: who, when, from, to."""
    advertiser = visible_advertiser(request, slug)
    return _bids_page(request, advertiser, _ad(advertiser, public_id), form=BidForm())


def _bids_page(
    request: HttpRequest, advertiser: Advertiser, ad: Ad, *, form: BidForm, status: int = 200
) -> HttpResponse:
    page = Paginator(ad.bids.select_related("set_by"), BIDS_PER_PAGE).get_page(request.GET.get("page"))
    bids = list(page.object_list)
    oldest = bids[-1].pk if bids else None
    earlier: Bid | None = ad.bids.filter(pk__lt=oldest).first() if oldest else None
    for bid, before in zip(bids, [*bids[1:], earlier], strict=False):  # without any bid there is one too many
        bid.before_micros = before.amount_micros if before else None
    context = {"advertiser": advertiser, "ad": ad, "page": page, "bids": bids, "form": form}
    return render(request, "campaigns/bids.html", context, status=status)


# --- ads ---


@login_required
def ad_new(request: HttpRequest, slug: str) -> HttpResponse:
    advertiser = editable_advertiser(request, slug)
    if not advertiser.campaigns.exists():
        messages.warning(request, "An ad belongs to a campaign, which holds its budget. Please make one first.")
        return redirect("campaign_new", slug)
    form = AdForm(request.POST or None, advertiser=advertiser)
    if request.method == "POST" and form.is_valid():
        texts = {name: form.cleaned_data[name] for name in ("title", "landing_url", "description", "category")}
        try:
            ad = create_ad(
                campaign=form.cleaned_data["campaign"],
                bid_micros=form.cleaned_data["bid"],
                created_by=request.user,
                **texts,
            )
        except InvalidInput as error:
            form.add_error("title", str(error))
        else:
            messages.success(request, f"“{ad.title}” is saved and waits for review. It takes part once it is approved.")
            return redirect("advertiser_ads", slug)
    return _form_page(request, advertiser, form, heading="New ad", action="Save and send to review")


@login_required
def ad_edit(request: HttpRequest, slug: str, public_id: str) -> HttpResponse:
    advertiser = editable_advertiser(request, slug)
    ad = _ad(advertiser, public_id)
    form = AdForm(request.POST or None, advertiser=advertiser, ad=ad)
    if request.method == "POST" and form.is_valid():
        was_approved = ad.review_state == Ad.Review.APPROVED
        try:
            edit_ad(ad=ad, **form.cleaned_data)
        except InvalidInput as error:
            form.add_error("title", str(error))
        else:
            again = was_approved and ad.review_state == Ad.Review.PENDING
            messages.success(request, "The ad is saved." + (" It waits for review again." if again else ""))
            return redirect("advertiser_ads", slug)
    return _form_page(request, advertiser, form, heading=f"Edit {ad.public_id}", action="Save", ad=ad)


@login_required
@require_POST
def ad_status(request: HttpRequest, slug: str, public_id: str) -> HttpResponse:
    """Pauses or resumes an ad, at once."""
    ad = _ad(editable_advertiser(request, slug), public_id)
    _set_status(request, ad, f"“{ad.title}”")
    return _back(request, slug)


# --- campaigns ---


@login_required
def campaign_new(request: HttpRequest, slug: str) -> HttpResponse:
    advertiser = editable_advertiser(request, slug)
    form = CampaignForm(request.POST or None, advertiser=advertiser)
    if request.method == "POST" and form.is_valid():
        advertiser.campaigns.create(
            name=form.cleaned_data["name"],
            daily_budget_micros=form.cleaned_data["daily_budget"],
            total_budget_micros=form.cleaned_data["total_budget"],
        )
        messages.success(request, f"The campaign “{form.cleaned_data['name']}” is ready for ads.")
        return redirect("advertiser_ads", slug)
    return _form_page(request, advertiser, form, heading="New campaign", action="Save the campaign")


@login_required
def campaign_budgets(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    advertiser = editable_advertiser(request, slug)
    campaign = get_object_or_404(advertiser.campaigns, pk=pk)
    today = local_day(timezone.now(), advertiser.time_zone)
    campaign.spent_today_micros = spent_today_micros(campaign, today=today)
    budgets = {"daily_budget": campaign.daily_budget_micros, "total_budget": campaign.total_budget_micros}
    form = BudgetForm(request.POST or None, initial=budgets)
    if request.method == "POST" and form.is_valid():
        try:
            set_budgets(
                campaign=campaign,
                daily_budget_micros=form.cleaned_data["daily_budget"],
                total_budget_micros=form.cleaned_data["total_budget"],
                set_by=request.user,
            )
        except InvalidInput as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"The budgets of “{campaign.name}” are set.")
            return redirect("advertiser_ads", slug)
    return _form_page(
        request, advertiser, form, heading=f"Budgets of “{campaign.name}”", action="Save the budgets", campaign=campaign
    )


@login_required
@require_POST
def campaign_status(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Pauses or resumes all ads of a campaign, at once."""
    campaign = get_object_or_404(editable_advertiser(request, slug).campaigns, pk=pk)
    _set_status(request, campaign, f"The campaign “{campaign.name}”")
    return _back(request, slug)


def _set_status(request: HttpRequest, row: Ad | Campaign, name: str) -> None:
    status = request.POST.get("status")
    if status not in row.Status.values:
        raise BadRequest("A status is active or paused.")
    row.status = status
    row.save(update_fields=["status"])
    messages.success(request, f"{name} is {'paused' if status == row.Status.PAUSED else 'active again'}.")


def _back(request: HttpRequest, slug: str) -> HttpResponse:
    """To the table, filtered and sorted as it was."""
    query = "".join(char for char in request.POST.get("query", "") if char.isprintable())
    return redirect(reverse("advertiser_ads", args=[slug]) + (f"?{query}" if query else ""))


def _form_page(request, advertiser: Advertiser, form, *, heading: str, action: str, **more) -> HttpResponse:
    context = {"advertiser": advertiser, "form": form, "heading": heading, "action": action, **more}
    return render(request, "campaigns/form.html", context, status=422 if form.errors else 200)
