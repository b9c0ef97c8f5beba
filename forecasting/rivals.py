"""Whom a fit is compared with: the champion on the identical held-out rows, recomputed or as it was published."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from forecasting import protocols, stored
from forecasting.models import Forecast, ForecastRun
from forecasting.orders import Order
from forecasting.panel import Panel
from forecasting.train import NothingToLearn
from mlops.artefacts import BrokenArtefact
from mlops.models import ModelPolicy, ModelVersion


def beside(
    champion: ModelVersion | None,
    fitted: protocols.Fitted,
    panel: Panel,
    order: Order,
    policy: ModelPolicy,
    *,
    own_panel: Panel | None = None,
) -> pd.DataFrame:
    """The held-out rows that decide, beside the champion's where there is one.

    `own_panel` is what the champion's recipe is fitted on, where that is wider than the panel that is judged.
    """
    if champion is None:
        return fitted.judged.near(policy.decision_leads)
    try:
        # In an emergency the fit that serves is judged, as its logged forecasts are, unless it saw the judged week.
        served_before = order.rule.emergency and champion.train_end <= fitted.split.cutoff
        part = stored.SERVING if served_before else stored.EVALUATION
        model = stored.load_model(champion, part)
        judged_as = protocols.Champion(model, champion.train_start, champion.train_end, own_panel)
        if not order.rule.emergency:
            return protocols.beside_standard(fitted, judged_as, panel, policy)
        return protocols.beside_emergency(fitted, judged_as, panel, policy, logged(champion, panel))
    except (NothingToLearn, BrokenArtefact):  # no sale in its window moved back, or no files: a person decides
        near = fitted.judged.near(policy.decision_leads)
        return near.assign(champion=np.nan, champion_lower=np.nan, champion_upper=np.nan)


def logged(champion: ModelVersion, panel: Panel) -> protocols.LoggedForecasts:
    """The champion's forecasts as they were published, by origin; of several for one day, those of the last run."""

    def read(origins: list[dt.date], leads: int) -> pd.DataFrame:
        runs = ForecastRun.objects.published().filter(customer=champion.customer, origin__in=origins)
        ahead = Forecast.objects.filter(run__in=runs, version=champion, lead__lte=leads)
        # One day ahead is kept apart from the runs: another run of that origin, or a later one, may have written it.
        served = Forecast.objects.served(champion.customer, [origin + dt.timedelta(days=1) for origin in origins])
        names = ["store_id", "product_id", "ds", "origin", "prediction", "lower", "upper"]
        fields = ["store_id", "product_id", "date", *names[3:]]
        both = (ahead.order_by("run_id"), served.filter(version=champion).order_by())
        found = [row for rows in both for row in rows.values_list(*fields)]
        table = pd.DataFrame.from_records(found, columns=names)
        table = table.drop_duplicates(["store_id", "product_id", "ds", "origin"], keep="last")
        ids = table.pop("store_id").astype(str) + "|" + table.pop("product_id").astype(str)
        table["unique_id"] = pd.Categorical(ids, categories=panel.items["unique_id"])
        return table.astype({"ds": "datetime64[ns]", "origin": "datetime64[ns]", "lower": float, "upper": float})

    return read
