"""What staff type to start a run. Files are read here and now, so that a wrong line is named at once."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile

from training.dataset.jsonl import DataError
from training.simulation.presets import PRESETS
from training.simulation.world import read_ads, read_queries

BUILT_IN = {name: preset for name, preset in PRESETS.items() if not preset.user_llm}  # need no server
MOST_QUERIES, MOST_SAMPLES, MOST_EPOCHS, MOST_SEEDS, MOST_SEED = 15_000, 50, 20, 10, 2**31 - 1
MOST_BYTES = 10_000_000
GUIDED = "-guided"  # behind a policy's name


def _told(name: str) -> str:
    preset = BUILT_IN[name]
    return f"{name}: {preset.queries} questions, {preset.samples} answers each"


class RunForm(forms.Form):
    """What every run takes: a seed, and a world of one's own."""

    seed = forms.IntegerField(
        min_value=0, max_value=MOST_SEED, initial=0, label="Seed", help_text="The same seed gives the same run."
    )
    ads = forms.FileField(
        required=False, label="Your own ads", help_text="JSON Lines, as import_ads writes them. Empty: the demo market."
    )
    own_queries = forms.FileField(
        required=False, label="Your own questions", help_text='JSON Lines: {"text": "…"}. Empty: the built-in users.'
    )

    FILES = ("ads", "own_queries")

    def clean_ads(self) -> bytes | None:
        return _checked(self.cleaned_data["ads"], read_ads)

    def clean_own_queries(self) -> bytes | None:
        return _checked(self.cleaned_data["own_queries"], lambda path: read_queries(path, seed=0))

    @property
    def asked(self) -> dict[str, object]:
        return {name: value for name, value in self.cleaned_data.items() if name not in self.FILES}


class SimulationForm(RunForm):
    preset = forms.ChoiceField(choices=[(name, _told(name)) for name in reversed(BUILT_IN)], label="Preset")
    queries = forms.IntegerField(
        required=False, min_value=1, max_value=MOST_QUERIES, label="Questions", help_text="Empty: the preset's number."
    )
    samples = forms.IntegerField(
        required=False, min_value=1, max_value=MOST_SAMPLES, label="Answers each", help_text="Empty: the preset's."
    )
    field_order = ["preset", "queries", "samples", "seed", "ads", "own_queries"]


class IRPOForm(RunForm):
    preset = forms.ChoiceField(
        choices=[
            ("lab", "lab: the built-in model, three epochs; an hour or two on two cores"),
            ("tiny", "tiny: a random model, to see the stages in a minute"),
        ],
        label="Preset",
    )
    reward = forms.ChoiceField(
        choices=[
            ("context", "reward model that sees where an ad stands"),
            ("pctr", "the paper's reward model"),
            ("oracle", "the simulated users' own chances (upper reference)"),
        ],
        label="What an answer is worth",
    )
    algorithm = forms.ChoiceField(
        choices=[("dpo", "DPO on winners and losers (the paper)"), ("grpo", "online RL (GRPO)")], label="Algorithm"
    )
    epochs = forms.IntegerField(
        required=False, min_value=1, max_value=MOST_EPOCHS, label="Epochs", help_text="Empty: the preset's number."
    )
    offline_queries = forms.IntegerField(
        required=False, min_value=2, max_value=MOST_QUERIES, label="Questions to learn from, an epoch",
        help_text="Empty: the preset's number.",
    )  # fmt: skip
    guided = forms.BooleanField(
        required=False, initial=True, label="Only true markers can be written, as the site serves the built-in model"
    )
    allow_bias = forms.BooleanField(required=False, label="Go on with a reward model that is biased")
    field_order = [
        *("preset", "algorithm", "reward", "epochs", "offline_queries", "seed", "ads", "own_queries", "guided"),
        "allow_bias",
    ]


class EvaluationForm(forms.Form):
    """Which policies are compared, free or kept to true markers, and on how much. The first is the yardstick."""

    policies = forms.MultipleChoiceField(
        label="Policies", widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
        help_text="The first of those chosen is what the others are compared with.",
    )  # fmt: skip
    questions = forms.IntegerField(
        min_value=1, max_value=MOST_QUERIES, initial=150, label="Questions", help_text="For each seed."
    )
    seeds = forms.IntegerField(
        min_value=1, max_value=MOST_SEEDS, initial=3, label="Seeds", help_text="Of questions, bids and answers."
    )
    sweep = forms.IntegerField(
        required=False, min_value=0, max_value=MOST_QUERIES, label="Questions in which a bid goes from 1 to 100",
        help_text="Eleven answers each, for every policy. Empty: none.",
    )  # fmt: skip
    clicks = forms.ChoiceField(
        choices=[("behavioural", "the simulated users that IRPO knows"), ("held-out", "users nothing was trained on")],
        label="Who clicks",
    )

    def __init__(self, *args, models: Mapping[str, str], **kwargs) -> None:
        """`models` are the folders of all policies there are, by name."""
        super().__init__(*args, **kwargs)
        self._models = models
        self.fields["policies"].choices = [
            (f"{name}{suffix}", f"{name}, {told}")
            for name in models
            for suffix, told in (("", "free"), (GUIDED, "only true markers"))
        ]

    @property
    def asked(self) -> dict[str, object]:
        chosen, given = self.cleaned_data["policies"], self.cleaned_data
        return {
            "policies": [(name, self._models[name.removesuffix(GUIDED)]) for name in chosen],
            "guided": [name for name in chosen if name.endswith(GUIDED)],
            "questions": given["questions"],
            "seeds": list(range(given["seeds"])),
            "sweep": given["sweep"] or 0,
            "clicks": given["clicks"],
        }


def _checked(given: UploadedFile | None, read) -> bytes | None:
    """The file's bytes, once `read` has found nothing wrong with them."""
    if given is None:
        return None
    if given.size > MOST_BYTES:
        raise ValidationError(f"The file is larger than {MOST_BYTES // 1_000_000} MB.")
    content = given.read()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "the file")
        path.write_bytes(content)
        try:
            read(path)
        except DataError as error:
            raise ValidationError(f"{error}.") from None
    return content
