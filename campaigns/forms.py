"""What advertisers type, read strictly: every field ends in one of the readers of auction/validation."""

from django import forms
from django.core.exceptions import ValidationError

from campaigns.auction.candidates import format_micros
from campaigns.auction.categories import CATEGORIES
from campaigns.auction.validation import (
    MAX_BALANCE_MICROS,
    MAX_BID_MICROS,
    MIN_BID_MICROS,
    InvalidInput,
    clean_landing_url,
    clean_profile,
    clean_title,
    parse_amount,
)
from campaigns.models import Ad, Campaign

MAX_DESCRIPTION = Ad._meta.get_field("description").max_length


class AmountField(forms.CharField):
    """Money as plain digits; its value is micros."""

    def __init__(self, *, minimum: int, maximum: int, **kwargs) -> None:
        super().__init__(strip=True, **kwargs)
        self.minimum, self.maximum = minimum, maximum
        self.widget.attrs.update({"inputmode": "decimal", "autocomplete": "off", "maxlength": 20})

    def to_python(self, value: str) -> int | None:
        text = super().to_python(value)
        if text in self.empty_values:
            return None
        try:
            return parse_amount(text, minimum=self.minimum, maximum=self.maximum)
        except InvalidInput as error:
            raise ValidationError(str(error)) from None

    def prepare_value(self, value: object) -> object:
        return format_micros(value) if isinstance(value, int) else value


def bid_field() -> AmountField:
    return AmountField(
        minimum=MIN_BID_MICROS,
        maximum=MAX_BID_MICROS,
        label="Bid per click",
        help_text="What one click costs you. Answers that are already written keep the bid they were written with.",
    )


def budget_field(label: str, help_text: str) -> AmountField:
    return AmountField(minimum=MIN_BID_MICROS, maximum=MAX_BALANCE_MICROS, label=label, help_text=help_text)


class BidForm(forms.Form):
    amount = bid_field()


class BudgetForm(forms.Form):
    daily_budget = budget_field("Daily budget", "The most that one day's clicks may cost. The day begins at midnight.")
    total_budget = budget_field("Total budget", "The most that this campaign may ever cost.")

    def clean(self) -> dict:
        cleaned = super().clean()
        daily, whole = cleaned.get("daily_budget"), cleaned.get("total_budget")
        if daily and whole and daily > whole:
            self.add_error("daily_budget", f"A day cannot have more than the total budget of {format_micros(whole)}.")
        return cleaned


class CampaignForm(BudgetForm):
    name = forms.CharField(max_length=80, label="Name", help_text="For yourself; visitors never see it.")
    field_order = ("name", "daily_budget", "total_budget")

    def __init__(self, *args, advertiser, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.advertiser = advertiser

    def clean_name(self) -> str:
        name = " ".join(clean_profile(self.cleaned_data["name"]).split())
        if not name:
            raise ValidationError("Please write a name.")
        if self.advertiser.campaigns.filter(name=name).exists():
            raise ValidationError("You have a campaign of this name already.")
        return name


class AdForm(forms.Form):
    """An ad's texts; `bid` and `campaign` only while it is new."""

    campaign = forms.ModelChoiceField(queryset=Campaign.objects.none(), empty_label=None)
    title = forms.CharField(
        max_length=200,
        label="Title",
        help_text="2 to 80 characters. The model writes it into its answer, word for word.",
    )
    landing_url = forms.CharField(
        max_length=2000,
        label="Landing page",
        help_text="Where a click leads: an address that begins with https://.",
        widget=forms.TextInput(attrs={"inputmode": "url", "placeholder": "https://"}),
    )
    description = forms.CharField(
        required=False,
        label="Description",
        help_text=f"Visitors see it when they ask why they see the ad. At most {MAX_DESCRIPTION} characters.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    category = forms.ChoiceField(choices=[("", "Choose a category"), *CATEGORIES.items()], label="Category")
    bid = bid_field()

    def __init__(self, *args, advertiser, ad: Ad | None = None, **kwargs) -> None:
        if ad:
            names = ("title", "landing_url", "description", "category")
            kwargs["initial"] = {name: getattr(ad, name) for name in names}
        super().__init__(*args, **kwargs)
        if ad:
            del self.fields["campaign"], self.fields["bid"]
        else:
            self.fields["campaign"].queryset = advertiser.campaigns.all()

    def clean_title(self) -> str:
        return _read(clean_title, self.cleaned_data["title"])

    def clean_landing_url(self) -> str:
        return _read(clean_landing_url, self.cleaned_data["landing_url"])

    def clean_description(self) -> str:
        description = " ".join(clean_profile(self.cleaned_data["description"], max_length=10_000).split())
        if len(description) > MAX_DESCRIPTION:
            raise ValidationError(f"The description has {len(description)} characters; {MAX_DESCRIPTION} is the most.")
        return description


def _read(reader, text: str) -> str:
    try:
        return reader(text)
    except InvalidInput as error:
        raise ValidationError(str(error)) from None
