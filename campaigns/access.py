"""Who may open which pages of the market. What is not theirs to see does not exist for them: a 404, not a 403."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from campaigns.models import Advertiser, Membership

ANALYST_GROUP = "analyst"


def is_advertiser(user) -> bool:
    """May this person open the advertiser pages? Members of an advertiser, and staff."""
    return user.is_authenticated and (user.is_staff or user.memberships.exists())


def is_analyst(user) -> bool:
    """May this person see the figures of all advertisers? The group "analyst", and staff."""
    return user.is_authenticated and (user.is_staff or user.groups.filter(name=ANALYST_GROUP).exists())


def may_edit(user, advertiser: Advertiser) -> bool:
    """May this person change bids, budgets and ads? A viewer may only look."""
    editors = [Membership.Role.OWNER, Membership.Role.EDITOR]
    return user.is_staff or advertiser.memberships.filter(user=user, role__in=editors).exists()


def visible_advertiser(request: HttpRequest, slug: str) -> Advertiser:
    """The advertiser of a page, with its wallet and with `can_edit`; 404 for whoever is no member.

    Remembered in the session, so that "Advertiser" in the navigation leads back to it.
    """
    mine = Advertiser.objects.for_user(request.user).select_related("wallet")
    advertiser = get_object_or_404(mine, slug=slug)
    advertiser.can_edit = may_edit(request.user, advertiser)
    if request.session.get("advertiser") != slug:
        request.session["advertiser"] = slug
    return advertiser


def editable_advertiser(request: HttpRequest, slug: str) -> Advertiser:
    """The same, for whoever may change things; a viewer gets a 403 that says so."""
    advertiser = visible_advertiser(request, slug)
    if not advertiser.can_edit:
        raise PermissionDenied("You may look at these pages, but not change anything. Ask an owner of the account.")
    return advertiser
