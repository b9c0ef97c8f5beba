"""Every threshold that decides anything, one row per customer."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from shelfops.models import Customer

MOST_DAYS_AHEAD = 28
# What may not be more than what, and why.
NOT_MORE = (
    ("min_target_days", "train_days", "No fit could have so many days to train on."),
    ("min_holdout_days", "holdout_days", "No hold-out could have so many days."),
    ("emergency_holdout_days", "emergency_train_days", "After drift more days would be held out than trained on."),
    ("velocity_medium_from", "velocity_fast_from", "Medium sellers sell less than fast ones."),
    ("shadow_min_days", "shadow_days", "The shadow test would be over before the first look at it."),
    ("drift_recent_days", "drift_baseline_days", "The recent error is held against a longer time before it."),
)


def _days(name: str, default: int, help_text: str, *, least: int = 1) -> Any:
    validators = [MinValueValidator(least)]
    return models.PositiveSmallIntegerField(name, default=default, help_text=help_text, validators=validators)


def _number(name: str, default: float, help_text: str, *, least: float = 0.0, most: float | None = None) -> Any:
    limits = [MinValueValidator(least)] + ([MaxValueValidator(most)] if most is not None else [])
    return models.FloatField(name, default=default, help_text=help_text, validators=limits)


class ModelPolicy(models.Model):
    """The rules' numbers for one customer; managers edit them, and each change is kept."""

    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, related_name="policy")

    # Training and scoring
    train_days = _days("days to train on", 90, "Target days of a scheduled, manual or experimental fit.", least=28)
    holdout_days = _days("days held out", 30, "Days held out to judge a fit; less where the history is short.", least=7)
    holdout_share = _number(
        "held out at most, share of the history",
        0.25,
        "Short history: the hold-out takes at most this share of it.",
        most=0.5,
    )
    min_holdout_days = _days("days held out at least", 7, "The hold-out is never shorter than this.", least=7)
    min_target_days = _days("days to train on at least", 28, "A fit needs at least this many days of targets.", least=7)
    emergency_train_days = _days(
        "days to train on after drift", 30, "Target days of a retrain that drift asked for.", least=7
    )
    emergency_holdout_days = _days(
        "days held out after drift", 7, "Days held out by a retrain that drift asked for.", least=7
    )
    horizon_days = _days("days forecast ahead", 14, "Days that each forecast looks ahead; at most 28.", least=7)
    origin_step_days = _days("days between a backtest's starts", 7, "Days between two origins of a backtest.")
    decision_leads = _days(
        "days ahead that are compared",
        7,
        "A comparison uses the leads 1 to this one; at most the days between two origins.",
    )
    active_days = _days(
        "days within which an active product sold",
        56,
        "A series is active when it sold within this many days before the origin.",
    )
    complete_day_share = _number(
        "share of stores that completes a day",
        0.8,
        "A day is complete when this share of the active stores is covered.",
        most=1,
    )
    interval_level = _number(
        "share of sales that intervals hold",
        0.9,
        "Share of actuals that the interval should hold.",
        least=0.5,
        most=0.99,
    )
    velocity_medium_from = _number(
        "medium sellers from (units a day)", 0.5, "Units a day from which a series counts as medium; slow below it."
    )
    velocity_fast_from = _number(
        "fast sellers from (units a day)", 3.0, "Units a day from which a series counts as fast."
    )

    # Promotion
    min_improvement_pct = _number(
        "promoted by itself from (% better)", 5, "MAE improvement in percent from which a candidate may promote itself."
    )
    guard_rmse_pct = _number(
        "RMSE guard: at most (% worse)", 2, "RMSE may be worse than the champion's by at most this many percent."
    )
    guard_bias_points = _number(
        "bias guard: at most (points worse)",
        5,
        "Absolute bias may be worse than the champion's by at most this many points.",
    )
    guard_bias_max_points = _number(
        "bias guard: at most (points)", 15, "Absolute bias, in points, that no model may exceed."
    )
    guard_coverage_points = _number(
        "coverage guard: at most (points further off)",
        2,
        "Coverage may be this many points further from its target than the champion's.",
    )
    guard_department_units = _number(
        "department guard: from (units sold)", 200, "Departments that sold less in the hold-out are not guarded."
    )
    guard_department_mae_pct = _number(
        "department guard: at most (% worse)", 10, "MAE in a department may be worse by at most this many percent."
    )
    guard_mape_pct = _number(
        "MAPE guard: at most (% worse)", 2, "MAPE may be worse than the champion's by at most this many percent."
    )
    guard_mape_min_share = _number(
        "MAPE guard: from (share of rows that sold)",
        0.5,
        "MAPE counts where at least this share of the actuals is above 0.",
        most=1,
    )
    bootstrap_level = _number(
        "certainty of intervals of differences (share)",
        0.9,
        "Level of the bootstrap intervals of differences.",
        least=0.5,
        most=0.99,
    )
    refresh_lower_pct = models.FloatField(
        "refresh: lower bound above (%)",
        default=-1,
        help_text="A challenger may refresh the champion when its improvement's lower bound is above this.",
    )
    refresh_age_days = _days(
        "refresh: champion older than (days)", 28, "Age of the champion from which a refresh is proposed."
    )
    rollback_freeze_days = _days(
        "days without promotion after a rollback", 14, "Days without automatic promotion after a rollback."
    )
    max_shadowing = _days("versions in shadow at once", 3, "Versions in shadow at once, per segment.")

    # Drift and reviews
    drift_recent_days = _days("days of the recent error", 7, "Recent window of the drift check.")
    drift_baseline_days = _days(
        "days of the error before", 30, "Baseline window of the drift check, right before the recent one."
    )
    drift_pct = _number("drift: more than (% worse)", 15, "MAE increase in percent above which a segment has drifted.")
    drift_min_rows = _days("scored forecasts at least", 200, "Scored rows that each window needs.")
    drift_min_days_share = _number(
        "share of days scored at least", 0.8, "Share of its days that each window needs.", most=1
    )
    drift_segment_lower_pct = _number(
        "drift of a part: surely more than (% worse)",
        5,
        "Of a model for a part, such as a department: the increase's lower bound must exceed this.",
    )
    drift_segment_nights = _days(
        "drift of a part: nights in a row",
        2,
        "Of a model for a part: nights in a row on which the bound must be exceeded.",
    )
    drift_cooldown_days = _days(
        "days of rest after an incident", 7, "Days after an incident in which a new detection trains nothing."
    )
    degradation_pct = _number(
        "degradation: more than (% worse)",
        10,
        "WAPE increase in percent over the hold-out's that counts as degradation.",
    )
    review_due_hours = _days(
        "hours to review a critical alert", 2, "Hours after a critical alert by which its review is due."
    )

    # Shadow and experiments
    shadow_min_days = _days("days in shadow before an early look", 7, "Shadow days before an early look.")
    shadow_days = _days("days in shadow before a verdict", 14, "Shadow days that a verdict of PROMOTE needs.")
    target_improvement_pct = _number(
        "experiment succeeds from (% better)", 5, "Improvement that an experiment must reach where it names none."
    )
    allow_self_approval = models.BooleanField(
        "proposers may approve their own",
        default=False,
        help_text="For one-person teams: the proposer may approve; each use is recorded.",
    )

    # Segments and retention
    new_item_days = _days(
        "days for which an item is new", 30, "Days since the first sale in a store during which an item is new."
    )
    segment_min_rows = _days(
        "training rows for a model of its own",
        2000,
        "A department, group of stores or stage of life with fewer is served by the model for all products.",
    )
    keep_forecast_days = _days(
        "days to keep forecasts", 90, "Forecasts beyond the first lead are kept for this many days."
    )
    keep_shadow_days = _days(
        "days to keep shadow forecasts", 180, "Shadow rows are kept for this many days after their test."
    )

    updated_at = models.DateTimeField(auto_now=True)
    history = HistoricalRecords()

    class Meta:
        db_table = "model_policies"
        verbose_name = "policy"
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return f"Policy of {self.customer}"

    def clean(self) -> None:
        """Refuses settings that contradict each other, score a day twice or look further ahead than plans are read."""
        for name, most, why in NOT_MORE:
            if getattr(self, name) > getattr(self, most):
                title = self._meta.get_field(most).verbose_name  # type: ignore[union-attr]  # a field, no relation
                raise ValidationError({name: f"At most {getattr(self, most):g}, as “{title}” says. {why}"})
        if self.decision_leads > self.origin_step_days:
            raise ValidationError({"decision_leads": "More leads than days between origins would score days twice."})
        if self.horizon_days > MOST_DAYS_AHEAD:
            raise ValidationError({"horizon_days": f"Plans are read {MOST_DAYS_AHEAD} days ahead: at most that many."})

    @classmethod
    def of(cls, customer: Customer) -> "ModelPolicy":
        """The customer's policy, with the defaults where nobody has touched it yet."""
        return cls.objects.get_or_create(customer=customer)[0]
