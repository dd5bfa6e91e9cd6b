"""What a visitor may send. Each form says in one sentence what is accepted."""

from django import forms

from campaigns.auction.validation import InvalidInput, clean_profile, clean_query
from chat import registry
from chat.models import AdReport, ModelVersion, VisitorProfile
from chat.profiles import NOBODY, OWN

MAX_PROFILE_PART = 300  # characters of each of the two fields


class QuestionForm(forms.Form):
    """A question: typed, or one of the examples. `conversation` is empty for the first one."""

    query = forms.CharField(required=False, strip=False)
    example = forms.CharField(required=False, strip=False)
    conversation = forms.UUIDField(required=False)
    idempotency_key = forms.RegexField(r"\A[0-9a-f]{32}\Z", error_messages={"required": "Please reload the page."})

    def clean(self) -> dict:
        cleaned = super().clean()
        try:
            cleaned["query"] = clean_query(cleaned.get("example") or cleaned.get("query") or "")
        except InvalidInput as refused:
            self.add_error("query", str(refused))
        return cleaned


class ProfileForm(forms.Form):
    """Who is asking: nobody in particular, one of the ready-made profiles, or the visitor's own two sentences."""

    choice = forms.CharField(required=False, max_length=20)
    about = forms.CharField(required=False)
    interests = forms.CharField(required=False)

    def clean(self) -> dict:
        cleaned = super().clean()
        choice = cleaned.get("choice", "")
        if choice == OWN:
            for part in ("about", "interests"):
                try:
                    cleaned[part] = clean_profile(cleaned.get(part, ""), max_length=MAX_PROFILE_PART)
                except InvalidInput as refused:
                    self.add_error(part, str(refused))
            if not self.errors and not cleaned["about"] and not cleaned["interests"]:
                self.add_error("about", "Write a few words, or choose another profile.")
        elif choice != NOBODY and not _is_ready_made(choice):
            self.add_error("choice", "That profile does not exist any more. Please choose another.")
        return cleaned


class ModelForm(forms.Form):
    """Which model a member of staff asks: one that may be asked, or none for the live one."""

    version = forms.IntegerField(required=False)
    conversation = forms.UUIDField(required=False)

    def clean_version(self) -> ModelVersion | None:
        chosen = self.cleaned_data["version"]
        found = next((version for version in registry.choices() if version.pk == chosen), None)
        if chosen and not found:
            raise forms.ValidationError("That model is not there any more. Please choose another.")
        return found


class ReportForm(forms.ModelForm):
    class Meta:
        model = AdReport
        fields = ["reason", "note"]


def _is_ready_made(choice: str) -> bool:
    return choice.isascii() and choice.isdigit() and VisitorProfile.objects.filter(pk=int(choice)).exists()
