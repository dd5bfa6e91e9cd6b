"""Who may look behind an answer: its candidates, bids and prompt."""

STAKEHOLDER_GROUP = "stakeholder"


def is_stakeholder(user) -> bool:
    """May this person see the stakeholder panel of an answer? The group "stakeholder", and staff."""
    return user.is_authenticated and (user.is_staff or user.groups.filter(name=STAKEHOLDER_GROUP).exists())
