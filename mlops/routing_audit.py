"""Whether the routing follows from the promotions: who the rules name, since when, and one at a time."""

from collections.abc import Iterator

from django.db.models import Exists, F, OuterRef, Q

from mlops.faults import Fault, each
from mlops.models import ModelVersion, RoutingRule, VersionEvent
from shelfops.models import Customer

MEND = "Roll back to the version that is to serve: that writes its rule anew."
IN_FORCE = Q(valid_to=None) | Q(valid_to__gt=F("valid_from"))  # a rule that ended on its first day never held


def faults(customer: Customer) -> Iterator[Fault]:
    """Of the customer's rules and champions."""
    # By its key: a rule whose version is gone must be found, and a join would hide it.
    rules = RoutingRule.objects.filter(customer=customer).order_by("pk")
    named = ModelVersion.objects.filter(
        pk=OuterRef("version_id"),
        customer=OuterRef("customer"),
        model_name=OuterRef("model_name"),
        segment=OuterRef("segment"),
    )
    names_nobody = ~Exists(named)
    is_idle = Q(valid_to=None) & ~Exists(named.filter(status=ModelVersion.Status.CHAMPION))
    yield from each(rules.filter(Q(names_nobody) | is_idle), _without_champion)
    promoted = VersionEvent.objects.filter(
        version=OuterRef("version_id"), to_status=ModelVersion.Status.CHAMPION, as_of__lte=OuterRef("valid_from")
    )
    yield from each(rules.filter(~Exists(promoted)).exclude(names_nobody), _without_promotion)
    earlier = RoutingRule.objects.filter(
        IN_FORCE,
        Q(valid_to=None) | Q(valid_to__gt=OuterRef("valid_from")),
        customer=OuterRef("customer"),
        model_name=OuterRef("model_name"),
        segment=OuterRef("segment"),
        valid_from__lte=OuterRef("valid_from"),
    ).exclude(pk=OuterRef("pk"))
    yield from each(rules.filter(IN_FORCE).filter(Exists(earlier)), _overlapping)
    open_rule = RoutingRule.objects.open().filter(version=OuterRef("pk"), segment=OuterRef("segment"))
    champions = ModelVersion.objects.filter(customer=customer).champions().order_by("pk")
    yield from each(champions.filter(~Exists(open_rule)), _without_rule)


def _name(rule: RoutingRule) -> str:
    return f"rule {rule.pk} ({rule.segment} from {rule.valid_from})"


def _without_champion(rule: RoutingRule) -> Fault:
    message = (
        "The version that it names is not the champion of its segment."
        if rule.valid_to is None
        else "It names a version that is none of its segment's."
    )
    return Fault("rule_without_champion", _name(rule), message, MEND)


def _without_promotion(rule: RoutingRule) -> Fault:
    message = f"{rule.version} had not become champion by {rule.valid_from}."
    return Fault("rule_without_promotion", _name(rule), message, MEND)


def _overlapping(rule: RoutingRule) -> Fault:
    message = "Another rule of its segment holds on the day on which it begins."
    return Fault("rules_overlap", _name(rule), message, MEND)


def _without_rule(version: ModelVersion) -> Fault:
    message = f"It is champion of {version.segment}, and no rule sends anything to it."
    return Fault("champion_without_rule", version.version, message, MEND)
