"""The policy page has every threshold, once, under a name that people read."""

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
