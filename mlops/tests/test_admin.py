"""The policy page has every threshold, once."""

from mlops.admin import POLICY_TOPICS
from mlops.models import ModelPolicy


def test_every_threshold_is_on_the_policy_page_once():
    shown = [name for names in POLICY_TOPICS.values() for name in names]
    fields = {field.name for field in ModelPolicy._meta.concrete_fields}
    assert sorted(shown) == sorted(fields - {"id", "customer", "updated_at"})
