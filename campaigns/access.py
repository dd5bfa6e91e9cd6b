"""Who may open which pages of the market. Knows nothing of single rows: those go through `for_user` querysets."""

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
