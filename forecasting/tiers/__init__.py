"""The feature tiers by name. To add one: a module with a TIER, and its name here."""

from forecasting.tiers import cold_start, production
from forecasting.tiers.base import Tier
from shelfops.refusals import Refusal

TIERS: dict[str, Tier] = {tier.name: tier for tier in (cold_start.TIER, production.TIER)}


class UnknownTier(Refusal):
    """No tier has this name."""


def tier_named(name: str) -> Tier:
    """The tier with this name; raises UnknownTier naming those there are."""
    try:
        return TIERS[name]
    except KeyError:
        raise UnknownTier(f"There is no feature tier “{name}”. There are: {', '.join(TIERS)}.") from None
