"""The form in which a person proposes an experiment: a supposition, and what to train for it."""

from collections.abc import Iterator
from typing import Any

from django import forms

from forecasting.catalogue import segments_of
from forecasting.experiment_orders import CHANGES_DATA
from forecasting.orders import LEAST_WINDOW_DAYS, MOST_WINDOW_DAYS
from forecasting.tiers import TIERS
from mlops.experiment_facts import PARAMETERS, SEGMENTATIONS
from mlops.models import ModelExperiment
from mlops.routing import Kind, in_words, parts
from shelfops.models import Customer

AS_CHAMPION = ("", "As the champion’s")
# Name -> least, most, and whether it is a whole number; what a parameter means, its label says.
LIMITS: dict[str, tuple[Any, Any, bool]] = {
    "num_boost_round": (1, 5000, True),
    "learning_rate": (0.001, 1, False),
    "max_leaves": (2, 4096, True),
    "min_child_weight": (0, 1_000_000, False),
    "subsample": (0.05, 1, False),
    "colsample_bytree": (0.05, 1, False),
    "tweedie_variance_power": (1.01, 1.99, False),
}


class ProposeForm(forms.Form):
    """Plain fields that become a plan; whatever is left empty is as the champion has it."""

    name = forms.CharField(
        max_length=200,
        help_text="Such as: Department models, Electronics first.",
        error_messages={"required": "Give it a name: everybody knows it by that."},
    )
    hypothesis = forms.CharField(
        label="What do you suppose, and why?",
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="A manager decides by this. Such as: Electronics sells in cycles that groceries do not have.",
        error_messages={"required": "Say what you suppose: a manager decides by it."},
    )
    experiment_type = forms.ChoiceField(label="What kind of experiment is it?", choices=ModelExperiment.Type.choices)
    target_improvement_pct = forms.FloatField(
        label="Success: how many percent less error?",
        required=False,
        min_value=0.1,
        max_value=99.9,
    )
    segmentation = forms.ChoiceField(
        label="One model for all, or models of their own?",
        required=False,
        widget=forms.RadioSelect,
        choices=[("", "one model for all products"), *((kind.value, text) for kind, text in SEGMENTATIONS.items())],
    )
    segments = forms.MultipleChoiceField(
        label="For which segments?",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Of the kind chosen above. Tick none for all of that kind.",
    )
    tier = forms.ChoiceField(
        label="Feature tier",
        required=False,
        choices=[AS_CHAMPION, *((name, name.replace("_", " ").capitalize()) for name in TIERS)],
        help_text="Which facts the model learns from.",
    )
    window_days = forms.IntegerField(
        label="Training window in days",
        required=False,
        min_value=LEAST_WINDOW_DAYS,
        max_value=MOST_WINDOW_DAYS,
        help_text="Empty: as the champion’s.",
    )
    top_products = forms.IntegerField(
        label="Only the products that sell most: how many?",
        required=False,
        min_value=1,
        help_text="Empty: all products.",
    )

    def __init__(self, data: Any = None, *, customer: Customer, usual_target: float, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["target_improvement_pct"].help_text = f"Empty: the policy’s {usual_target:g} %."
        self.fields["segments"].choices = [  # type: ignore[attr-defined]  # a field with choices, as declared above
            (key, in_words(key)) for kind in SEGMENTATIONS for key in segments_of(customer, kind)
        ]
        for name, (least, most, is_whole) in LIMITS.items():
            kind = forms.IntegerField if is_whole else forms.FloatField
            self.fields[name] = kind(label=PARAMETERS[name], required=False, min_value=least, max_value=most)

    def groups(self) -> Iterator[tuple[str, list[Any]]]:
        """The segments to tick, by kind."""
        boxes = list(self["segments"])
        for kind, text in SEGMENTATIONS.items():
            if own := [box for box in boxes if parts(box.data["value"])[0] is kind]:
                yield text, own

    def parameters(self) -> list[Any]:
        """The fields of the model's parameters."""
        return [self[name] for name in LIMITS]

    def clean_segments(self) -> list[str]:
        wanted: list[str] = self.cleaned_data["segments"]
        kind: str = self.cleaned_data.get("segmentation") or ""
        if wanted and not kind:
            raise forms.ValidationError("Choose above by what the models are made, or tick none.")
        if strange := [key for key in wanted if parts(key)[0] != Kind(kind)]:
            names = ", ".join(in_words(key) for key in strange)
            raise forms.ValidationError(f"Tick segments of the kind chosen above only, not {names}.")
        there_are = [key for key, _ in self.fields["segments"].choices]  # type: ignore[attr-defined]  # as above
        if kind and not any(parts(key)[0] == Kind(kind) for key in there_are):
            raise forms.ValidationError(
                f"There are no segments {SEGMENTATIONS[Kind(kind)]} yet: {HOW_TO_GET[Kind(kind)]}"
            )
        return wanted

    def clean(self) -> dict[str, Any]:
        told = super().clean() or self.cleaned_data
        if not self.errors and not self.plan() and told["experiment_type"] not in CHANGES_DATA:
            self.add_error("experiment_type", "Say below what is trained differently: as it stands nothing would be.")
        return told

    def plan(self) -> dict[str, Any]:
        """What was filled in, as the rules take it."""
        named = {name: self.cleaned_data.get(name) for name in ("segmentation", "segments", "tier", "window_days")}
        params = {name: value for name in LIMITS if (value := self.cleaned_data.get(name)) is not None}
        named |= {"top_products": self.cleaned_data.get("top_products"), "params": params}
        return {name: value for name, value in named.items() if value}


HOW_TO_GET = {
    Kind.DEPARTMENT: "load sales with a department, or give the categories one.",
    Kind.STORE_CLUSTER: "give the stores a cluster first.",
    Kind.LIFECYCLE: "load sales first.",
}
