"""What people are asked at each step of an experiment."""

from collections.abc import Sequence
from typing import Any

from django import forms

from mlops.models import ModelExperiment, ModelVersion
from mlops.routing import in_words

Decision = ModelExperiment.Decision


class StepForm(forms.Form):
    """Every step; `state` is what the person was shown, so that nobody decides about what has changed since."""

    state = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: Any = None, *, step: str, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial, auto_id=f"{step}-%s")


class ReasonForm(StepForm):
    """A step that says why."""

    rationale = forms.CharField(
        label="Why? (required)",
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Kept with the experiment and shown wherever it is.",
        error_messages={"required": "Say why: it is kept with the experiment."},
    )


class RollBackForm(ReasonForm):
    """A reason; `serving` is who serves in the adopted segments, as the person was shown it."""

    serving = forms.CharField(widget=forms.HiddenInput, required=False)
    field_order = ("rationale",)


class ApproveForm(ReasonForm):
    """The reason and the conditions; the number of products binds the run, the rest people."""

    top_products = forms.IntegerField(
        label="Only for the products that sell most: how many?",
        required=False,
        min_value=1,
        help_text="Such as 500; the training keeps to it. Empty: all products.",
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )
    note = forms.CharField(
        label="Other conditions",
        required=False,
        max_length=1000,
        help_text="Such as: mind the time that a forecast takes. Shown to whoever completes it.",
    )

    def conditions(self) -> dict[str, Any]:
        """Those that were named."""
        named = {name: self.cleaned_data[name] for name in ("top_products", "note")}
        return {name: value for name, value in named.items() if value}


class CompleteForm(ReasonForm):
    """The decision, and where it is adopted; `beside` is who serves beside each version, as the person was shown."""

    decision = forms.ChoiceField(choices=Decision.choices, error_messages={"required": "Choose what to adopt."})
    segments = forms.MultipleChoiceField(
        label="Where it is adopted in some segments only",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Ticked are those that reach their target and fail no guard of their shadow test.",
    )
    beside = forms.CharField(widget=forms.HiddenInput, required=False)
    field_order = ("segments", "rationale")

    def __init__(self, data: Any = None, *, versions: Sequence[ModelVersion], **options: Any) -> None:
        super().__init__(data, **options)
        self.versions = versions
        field = self.fields["segments"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101  # as declared above
        field.choices = [(version.segment, in_words(version.segment)) for version in versions]
        if len(versions) < 2:
            del self.fields["segments"]

    def clean(self) -> dict[str, Any]:
        told = super().clean() or self.cleaned_data
        if told.get("decision") == Decision.PARTIAL_ADOPT and not told.get("segments"):
            self.add_error("segments" if "segments" in self.fields else None, "Tick the segments to adopt.")
        return told

    def wanted(self) -> list[str] | None:
        """The segments to adopt, where not all are."""
        return self.cleaned_data["segments"] if self.cleaned_data["decision"] == Decision.PARTIAL_ADOPT else None

    def expected_champion(self) -> str | None:
        """Who serves beside the versions that are adopted, as the person was shown; None where nothing was shown."""
        if not self.cleaned_data["beside"]:
            return None
        beside = dict(pair.split("=", 1) for pair in self.cleaned_data["beside"].split(",") if "=" in pair)
        wanted = self.wanted()
        chosen = [version for version in self.versions if wanted is None or version.segment in wanted]
        return ", ".join(dict.fromkeys(name for version in chosen if (name := beside.get(version.version))))
