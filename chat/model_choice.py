"""Which model a member of staff asks instead of the live one, kept in the browser session. Knows no forms or pages."""

from collections.abc import MutableMapping

from chat import registry
from chat.models import ModelVersion

_KEY = "model_version"


def remember_model(*, session: MutableMapping, version: ModelVersion | None) -> None:
    """None: whichever is live."""
    session[_KEY] = version and version.pk


def chosen_model(*, session: MutableMapping, user) -> ModelVersion | None:
    """None where nothing is chosen, the person is no longer staff, or the model is no longer there."""
    if not user.is_staff or not (chosen := session.get(_KEY)):
        return None
    return next((version for version in registry.choices() if version.pk == chosen), None)
