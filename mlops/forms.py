"""What people are asked before a version's status changes."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from mlops.models import DriftIncident, ModelReview


class RollBackForm(forms.Form):
    """Why a former champion is to serve again; `champion` is the one that the person was shown."""

    reason = forms.CharField(
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"autofocus": True, "rows": 4}),
        help_text="Kept with the version and shown wherever it is, such as: forecasts of fresh fish fell to zero.",
    )
    champion = forms.CharField(widget=forms.HiddenInput, required=False)


class ReviewForm(forms.Form):
    """The decision about a challenger; `champion` is the one that the person was shown.

    The verdict is asked where a drift incident waits for it.
    """

    action = forms.ChoiceField(choices=ModelReview.Action.choices)
    notes = forms.CharField(
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 4, "aria-describedby": "notes-help"}),
        help_text="Kept with the version and shown wherever it is. For example: better in every department that sells.",
        error_messages={"required": "Say why: the notes are kept with the decision."},
    )
    verdict = forms.ChoiceField(
        label="What caused the drift?",
        choices=DriftIncident.Verdict.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Say what caused the drift: confirm what the data suggest, or correct it."},
    )
    champion = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, asks_for_verdict: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not asks_for_verdict:
            del self.fields["verdict"]


class TrainAgainForm(forms.Form):
    """Why an emergency retrain that failed is done again."""

    reason = forms.CharField(
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"autofocus": True, "rows": 4}),
        help_text="Kept with the incident and the retrain, such as: the missing days of sales are loaded now.",
    )


class CloseIncidentForm(forms.Form):
    """Why an incident is closed though no new version was trained for it."""

    verdict = forms.ChoiceField(
        label="What caused the drift?", choices=DriftIncident.Verdict.choices, widget=UnfoldAdminSelectWidget
    )
    notes = forms.CharField(
        max_length=4000,
        widget=UnfoldAdminTextareaWidget(attrs={"autofocus": True, "rows": 4}),
        help_text="Kept with the incident and its alert, such as: two days were loaded twice, and are put right.",
    )
