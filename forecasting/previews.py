"""What would change if a version served: its preview beside the champion's forecasts of the same days."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from django.core.cache import cache
from django.db.models import Sum

from forecasting import catalogue, stored
from forecasting.kept import KEPT_SECONDS
from forecasting.models import Forecast, ForecastRun, Product, Store
from mlops.artefacts import BrokenArtefact
from mlops.charts import Chart, Kind, Line, Tone
from mlops.figures import UNKNOWN, Row, Table, change
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
    published = _published(version)
    key = f"previews:{version.pk}:{version.artefact_sha256}:{champion.pk}:{published.pk if published else ''}"
    found = cache.get(key)
    if found is None:
        try:
            found = _compared(version, champion, published)
        except BrokenArtefact:
            return None  # not kept: the store may be back the next moment
        cache.set(key, found, KEPT_SECONDS)  # neither files nor published forecasts change
    both, days = found
    if both.empty:
        return None
    total, names = both[UNITS].sum(), (version.version, champion.version)
    more = change((total["own"] / total["theirs"] - 1) * 100) if total["theirs"] else UNKNOWN
    return Difference(
        sentence=(
            f"For {days} {version} expects {total['own']:,.0f} units and {champion} {total['theirs']:,.0f}: {more}."
        ),
        departments=_departments(version.customer, both, names),
        items=_items(version.customer, both, names),
    )


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


def _departments(customer: Customer, both: pd.DataFrame, names: tuple[str, str]) -> Chart:
    by = both["product"].map(catalogue.departments(customer)).fillna("").replace("", "none")
    table = both.groupby(by)[UNITS].sum().sort_values("theirs", ascending=False)
    lines = [
        Line(name, table[column].round(1).tolist(), tone)
        for column, name, tone in zip(UNITS, names, (Tone.OWN, Tone.OTHER), strict=True)
    ]
    return Chart("preview", "Expected by department", "Department", "units", list(table.index), lines, Kind.BARS)


def _items(customer: Customer, both: pd.DataFrame, names: tuple[str, str]) -> Table:
    """Products in stores whose expected units change the most."""
    apart = both.assign(apart=both["own"] - both["theirs"])
    largest = apart.loc[apart["apart"].abs().sort_values(ascending=False).index[:MOST_ITEMS]]
    products = Product.objects.filter(customer=customer).in_bulk(largest["product"].tolist())
    stores = Store.objects.filter(customer=customer).in_bulk(largest["store"].tolist())
    rows: list[Row] = [
        [
            str(products.get(one.product, UNKNOWN)),
            str(stores.get(one.store, UNKNOWN)),
            f"{one.own:,.1f}",
            f"{one.theirs:,.1f}",
            f"{one.apart:+,.1f} units",
        ]
        for one in largest.itertuples()
    ]
    headers = ["Product", "Store", f"{names[0]}, units", f"{names[1]}, units", "Difference"]
    return Table("The products in stores that change the most", headers, rows)
