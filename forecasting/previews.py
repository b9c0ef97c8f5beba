"""What would change if a version served: its preview beside the champion's forecasts of the same days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from django.db.models import Sum

from forecasting import catalogue, stored
from forecasting.models import Forecast, ForecastRun, Product, Store
from mlops.artefacts import BrokenArtefact
from mlops.charts import Chart, Kind, Line, Tone
from mlops.figures import UNKNOWN, Row, Table, change
from mlops.kept import Question
from mlops.models import ModelVersion
from shelfops.models import Customer

MOST_ITEMS = 20
SERIES = ["store", "product"]
UNITS = ["own", "theirs"]


@dataclass(frozen=True)
class Difference:
    """In one sentence, by department, and the items that change the most."""

    sentence: str
    departments: Chart
    items: Table


def difference(version: ModelVersion, champion: ModelVersion) -> Difference | None:
    """None where the two have no day in common, or the files are gone."""
    try:
        found = question(version, champion).answer()
    except BrokenArtefact:
        return None  # not kept: the store may be back the next moment
    if not found:
        return None
    names, total = (version.version, champion.version), found["total"]
    more = change((total["own"] / total["theirs"] - 1) * 100) if total["theirs"] else UNKNOWN
    return Difference(
        sentence=(
            f"For {found['days']} {version} expects {total['own']:,.0f} units and {champion} {total['theirs']:,.0f}: "
            f"{more}."
        ),
        departments=_departments(found["departments"], names),
        items=_items(version.customer, found["items"], names),
    )


def question(version: ModelVersion, champion: ModelVersion) -> Question:
    """Neither files nor published forecasts change; departments are those of the time when it is worked out."""
    published = _published(version)
    made_of = (version.artefact_sha256, champion.artefact_sha256, champion.pk, published and published.pk)
    name = f"previews:{version.model_name}:{version}"
    return Question(version.customer, name, made_of, lambda: _summary(version, champion, published))


def _summary(version: ModelVersion, champion: ModelVersion, published: ForecastRun | None) -> dict[str, Any]:
    """Units that the two expect: over all, by department, and of the series that change the most; empty for none."""
    both, days = _compared(version, champion, published)
    if both.empty:
        return {}
    by = both["product"].map(catalogue.departments(version.customer)).fillna("").replace("", "none")
    departments = both.groupby(by)[UNITS].sum().sort_values("theirs", ascending=False)
    apart = (both["own"] - both["theirs"]).abs().sort_values(ascending=False)
    return {
        "days": days,
        "total": both[UNITS].sum().to_dict(),
        "departments": departments.rename_axis("name").reset_index().to_dict("records"),
        "items": both.loc[apart.index[:MOST_ITEMS]].to_dict("records"),
    }


def _compared(version: ModelVersion, champion: ModelVersion, published: ForecastRun | None) -> tuple[pd.DataFrame, str]:
    """Units that the two expect of each series, and of which days; empty where a version has no preview."""
    both, days = pd.DataFrame(), ""
    try:
        own = _preview(version)
        if published:
            both, days = _beside_published(published, champion, own)
        if both.empty:
            both, days = _beside_preview(own, _preview(champion))
    except KeyError:
        return pd.DataFrame(), ""
    return both, days


def _preview(version: ModelVersion) -> pd.DataFrame:
    """With the keys of store and product, taken from each series once rather than from each of its days."""
    rows = stored.load_preview(version)
    series = rows["unique_id"].astype("category").cat
    parts = series.categories.to_series().astype(str).str.split("|", expand=True).reindex(columns=[0, 1])
    keys = parts.astype("int64").to_numpy()[series.codes]
    return rows.assign(store=keys[:, 0], product=keys[:, 1])


def _published(version: ModelVersion) -> ForecastRun | None:
    """The last run that knew the same sales."""
    runs = ForecastRun.objects.published().filter(customer=version.customer, origin=version.train_end, pruned=False)
    return runs.order_by("-pk").first()


def _beside_published(run: ForecastRun, champion: ModelVersion, own: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Units of each series over the days after the first, from forecasts that knew the same sales.

    Without the first day: its rows belong to the day that they served, whichever run wrote them.
    """
    ahead = Forecast.objects.filter(run=run, version=champion, lead__range=(2, run.days)).order_by()
    units = ahead.values_list("store_id", "product_id").annotate(Sum("prediction"))
    theirs = pd.DataFrame.from_records(list(units), columns=[*SERIES, "theirs"])
    own = own[own["lead"].between(2, run.days)]
    return _summed(own, "own").merge(theirs, on=SERIES), _span(own)


def _beside_preview(own: pd.DataFrame, theirs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Units of each series over the days that both previews hold."""
    days = set(own["ds"]) & set(theirs["ds"])
    own, theirs = own[own["ds"].isin(days)], theirs[theirs["ds"].isin(days)]
    return _summed(own, "own").merge(_summed(theirs, "theirs"), on=SERIES), _span(own)


def _summed(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows.groupby(SERIES)["prediction"].sum().rename(name).reset_index()


def _span(rows: pd.DataFrame) -> str:
    return f"{rows['ds'].min():%Y-%m-%d} to {rows['ds'].max():%Y-%m-%d}" if len(rows) else ""


def _departments(found: list[dict[str, Any]], names: tuple[str, str]) -> Chart:
    lines = [
        Line(name, [round(one[column], 1) for one in found], tone)
        for column, name, tone in zip(UNITS, names, (Tone.OWN, Tone.OTHER), strict=True)
    ]
    labels = [one["name"] for one in found]
    return Chart("preview", "Expected by department", "Department", "units", labels, lines, Kind.BARS)


def _items(customer: Customer, found: list[dict[str, Any]], names: tuple[str, str]) -> Table:
    """Products in stores whose expected units change the most."""
    products = Product.objects.filter(customer=customer).in_bulk([one["product"] for one in found])
    stores = Store.objects.filter(customer=customer).in_bulk([one["store"] for one in found])
    rows: list[Row] = [
        [
            str(products.get(one["product"], UNKNOWN)),
            str(stores.get(one["store"], UNKNOWN)),
            f"{one['own']:,.1f}",
            f"{one['theirs']:,.1f}",
            f"{one['own'] - one['theirs']:+,.1f} units",
        ]
        for one in found
    ]
    headers = ["Product", "Store", f"{names[0]}, units", f"{names[1]}, units", "Difference"]
    return Table("The products in stores that change the most", headers, rows)
