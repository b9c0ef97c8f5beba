"""What one night works on: the sales that were in, who serves whom, and the models of those who do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from django.db.models import Q

from forecasting import sales, stored
from forecasting.outlook import Outlook, days_back
from forecasting.panel import Panel, day_number
from forecasting.predict import expected, seasonal_naive
from forecasting.train import Model
from mlops import intervals, routing
from mlops.models import ModelPolicy, ModelVersion, RoutingRule
from shelfops.models import Customer

BAND_DAYS = 28
MODELS_KEPT = 16
DAY = dt.timedelta(days=1)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Routes:
    """Which rule serves each series of a panel on one day: `chosen` is its place in `rules`, or routing.UNROUTED."""

    rules: list[RoutingRule]
    chosen: npt.NDArray[np.int64]

    def versions(self) -> Iterator[tuple[ModelVersion, Mask]]:
        """Each version that serves, and the series that it serves."""
        for version in {rule.version_id: rule.version for rule in self.rules}.values():
            own = [place for place, rule in enumerate(self.rules) if rule.version_id == version.pk]
            yield version, np.isin(self.chosen, own)

    @property
    def rule_ids(self) -> npt.NDArray[np.int64]:
        """The key of each series' rule; of no use where it is unrouted."""
        return np.array([rule.pk for rule in self.rules] or [0])[self.chosen]

    @property
    def unrouted(self) -> Mask:
        return self.chosen == routing.UNROUTED


@dataclass(frozen=True)
class Night:
    """A customer's night: what is known up to `origin`, the last complete day, when it is `as_of`.

    The sales are read once, and no more of them than features need, so that a night that is made up for later reads
    what it would have read then. `only` narrows the series by `store` and `product`.
    """

    customer: Customer
    policy: ModelPolicy
    as_of: dt.date
    origin: dt.date
    only: Q | None = None

    @classmethod
    def of(cls, customer: Customer, as_of: dt.date) -> Night:
        """The night before this day. Raises sales.NoSales."""
        policy = ModelPolicy.of(customer)
        return cls(customer, policy, as_of, sales.last_complete_day(customer, as_of, policy))

    @property
    def first_day(self) -> dt.date:
        """The day that is one day ahead."""
        return self.origin + DAY

    def before(self, day: dt.date) -> Night:
        """The night whose first day this is, as it would have been with the feed in time."""
        return self if day == self.first_day else replace(self, origin=day - DAY)

    @cached_property
    def panel(self) -> Panel:
        """Every series up to the origin, as far back as any feature looks, with the plans for the days after it."""
        since = self.origin - dt.timedelta(days=max(BAND_DAYS, days_back(self.policy.active_days)))
        return sales.panel(self.customer, last_day=self.origin, since=since, plans_since=self.first_day, only=self.only)

    @cached_property
    def outlook(self) -> Outlook:
        """What the panel tells of the days after the origin, for whichever version."""
        return Outlook(self.panel)

    @cached_property
    def active(self) -> Mask:
        """Which series of the panel are forecast."""
        return self.panel.active(self.policy.active_days)

    @cached_property
    def bands(self) -> pd.Categorical:
        """The velocity band of each series of the panel."""
        speed = self.panel.trailing_mean(BAND_DAYS)
        return intervals.velocity_band(speed, self.policy.velocity_medium_from, self.policy.velocity_fast_from)

    @cached_property
    def departments(self) -> npt.NDArray[np.object_]:
        """The department of each series of the panel, "" where there is none."""
        return self.panel.items["department"].astype(str).to_numpy(dtype=object)

    @cached_property
    def naive(self) -> npt.NDArray[np.float32]:
        """Seasonal naive of the first day for each series of the panel."""
        return seasonal_naive(self.panel, 1)["prediction"].to_numpy()

    @cached_property
    def keys(self) -> pd.DataFrame:
        """store_id and product_id, the database's keys, of each series of the panel."""
        parts = self.panel.items["unique_id"].astype(str).str.split("|", expand=True)
        keys = parts.reindex(columns=[0, 1]).astype(np.int64)
        return keys.set_axis(["store_id", "product_id"], axis=1)

    def segments(self, day: dt.date) -> pd.DataFrame:
        """What decides who serves each series of the panel on the day: department, store_cluster, lifecycle."""
        items = self.panel.items
        age = day_number(day) - items["first_sold"].astype(np.int64)
        return pd.DataFrame(
            {
                routing.Kind.DEPARTMENT: items["department"].astype(str),
                routing.Kind.STORE_CLUSTER: items["store_cluster"].astype(str),
                routing.Kind.LIFECYCLE: routing.lifecycle(age, self.policy.new_item_days),
            }
        )

    def routes(self, day: dt.date) -> Routes:
        """Who serves the panel's series on the day, by the rules that held at its end."""
        rules = routing.rules_on(self.customer, day)
        return Routes(rules, routing.resolve([rule.segment for rule in rules], self.segments(day)))

    def forecast(self, version: ModelVersion, series: Mask, horizon: int) -> pd.DataFrame:
        """The version's `horizon` days after the origin for these series of the panel, series by series.

        Columns: series (row of `panel.items`), lead, prediction, lower, upper; bounds are NaN without widths.
        """
        model, own = model_of(version), np.flatnonzero(series)
        rows = pd.DataFrame(
            {
                "series": np.repeat(own, horizon),
                "lead": np.tile(np.arange(1, horizon + 1, dtype=np.int16), len(own)),
                "prediction": expected(model, self.outlook, horizon, own).ravel(),
            }
        )
        if model.widths is None:
            return rows.assign(lower=np.float32(np.nan), upper=np.float32(np.nan))
        banded = rows.assign(band=self.bands[rows["series"].to_numpy()])
        return intervals.apply(banded, model.widths).drop(columns="band")


def rules_on(customer: Customer, day: dt.date) -> list[RoutingRule]:
    """The rules that held on the day. Raises routing.NobodyServes where there are none."""
    rules = routing.rules_on(customer, day)
    if not rules:
        raise routing.NobodyServes(routing.why_nobody(customer, day))
    return rules


@dataclass(frozen=True)
class _Part:
    """What identifies a loaded model: the version and its files' hash, and which of its fits."""

    pk: int
    sha256: str
    part: str
    version: ModelVersion = field(compare=False)


def model_of(version: ModelVersion, part: str = stored.SERVING) -> Model:
    """The version's model, read and checked against its hash once per process. Raises artefacts.BrokenArtefact."""
    return _loaded(_Part(version.pk, version.artefact_sha256, part, version))


@lru_cache(maxsize=MODELS_KEPT)
def _loaded(wanted: _Part) -> Model:
    return stored.load_model(wanted.version, wanted.part)
