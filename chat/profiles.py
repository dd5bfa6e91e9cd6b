"""The profile a visitor goes by (h in the paper), kept in the browser session. Knows nothing of forms or pages."""

from collections.abc import MutableMapping
from dataclasses import dataclass

from chat.models import VisitorProfile

NOBODY, OWN = "", "own"  # what `choice` may be besides the id of a ready-made profile
_KEY = "visitor_profile"


@dataclass(frozen=True)
class ChosenProfile:
    """`text` is what stands in the prompt; `about` and `interests` are the visitor's own words, kept for the form."""

    choice: str = NOBODY
    name: str = "No profile"
    text: str = ""
    about: str = ""
    interests: str = ""


def remember_profile(*, session: MutableMapping, choice: str, about: str, interests: str) -> None:
    """The visitor's own words stay even when a ready-made profile is chosen, so that nobody types them twice."""
    session[_KEY] = {"choice": choice, "about": about, "interests": interests}


def chosen_profile(*, session: MutableMapping) -> ChosenProfile:
    """What was remembered. A ready-made profile that is gone by now counts as none."""
    kept = session.get(_KEY, {})
    choice, own = kept.get("choice", NOBODY), {key: kept.get(key, "") for key in ("about", "interests")}
    if choice == OWN:
        text = " ".join(filter(None, [own["about"], own["interests"] and f"Interests: {own['interests']}"]))
        return ChosenProfile(choice=OWN, name="Your own profile", text=text, **own)
    ready_made = VisitorProfile.objects.filter(pk=choice).first() if choice else None
    if ready_made:
        return ChosenProfile(choice=choice, name=ready_made.name, text=ready_made.text, **own)
    return ChosenProfile(**own)
