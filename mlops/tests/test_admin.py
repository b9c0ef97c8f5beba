"""The policy page has every threshold, once, under a name that people read."""

import pytest
from django.core.exceptions import ValidationError

from mlops.admin import POLICY_TOPICS
from mlops.models import ModelPolicy


def test_every_threshold_is_on_the_policy_page_once():
    shown = [name for names in POLICY_TOPICS.values() for name in names]
    fields = {field.name for field in ModelPolicy._meta.concrete_fields}
    assert sorted(shown) == sorted(fields - {"id", "customer", "updated_at"})


def test_no_threshold_is_called_as_in_the_code():
    fields = {field.name: field.verbose_name for field in ModelPolicy._meta.concrete_fields if field.name != "id"}
    as_in_code = {name for name, shown in fields.items() if shown == name.replace("_", " ")}
    assert as_in_code == {"customer", "updated_at"}
    assert len(set(fields.values())) == len(fields)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"min_target_days": 500}, "min_target_days"),
        ({"emergency_holdout_days": 31}, "emergency_holdout_days"),
        ({"velocity_medium_from": 9, "velocity_fast_from": 3}, "velocity_medium_from"),
        ({"shadow_min_days": 30}, "shadow_min_days"),
        ({"drift_recent_days": 60}, "drift_recent_days"),
        ({"holdout_days": 7, "min_holdout_days": 8}, "min_holdout_days"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_at_their_field(changes, field):
    ModelPolicy().clean()
    with pytest.raises(ValidationError, match="At most ") as refused:
        ModelPolicy(**changes).clean()
    assert list(refused.value.message_dict) == [field]
