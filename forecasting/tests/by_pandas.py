"""A day's forecasts and errors by plain means: the sales as they were brought, pandas, and the booster of a version."""

import datetime as dt

import holidays
import numpy as np
import pandas as pd

from forecasting.stored import load_model
from mlops.models import ModelVersion

KEYS = ["store_id", "product_id"]
LAGS = (1, 2, 3, 4, 5, 6, 7, 14, 28)
DAY = dt.timedelta(days=1)


class Ledger:
    """Units and prices, a row for every day and a column for every store and product."""

    def __init__(self, sales: pd.DataFrame) -> None:
        rows = sales.assign(date=pd.to_datetime(sales["date"]).dt.date)
        wide = rows.pivot_table(index="date", columns=KEYS, values=["quantity", "unit_price"], observed=True)
        units = wide["quantity"].fillna(0).clip(lower=0)
        self.begun = (units > 0).cumsum() > 0
        self.units = units.where(self.begun)
        self.prices = wide["unit_price"].round(2).reindex(columns=units.columns).where(self.begun)
        self.items = rows.groupby(KEYS, observed=True)[["department", "category"]].first().loc[units.columns]

    def actual(self, day: dt.date) -> pd.Series:
        return self.units.loc[day]

    def active(self, day: dt.date) -> pd.Index:
        """What sold in the eight weeks before the day."""
        sold = _before(self.units, day, 56).max()
        return sold[sold > 0].index

    def forecast(self, version: ModelVersion, day: dt.date) -> pd.Series:
        """What the version says of the day on its own morning."""
        model = load_model(version)
        features = self.features(day).loc[self.active(day)]
        for name, known in model.categories.items():
            features[name] = features[name].map({value: code for code, value in enumerate(known)}).astype(np.float32)
        said = model.booster.inplace_predict(features[model.names].to_numpy(np.float32))
        return pd.Series(said, index=features.index).clip(lower=0)

    def features(self, day: dt.date) -> pd.DataFrame:
        """Every feature of the production tier, for every store and product."""
        week = {weeks: [day - 7 * n * DAY for n in range(1, weeks + 1)] for weeks in (4, 8)}
        price = _before(self.prices, day, 56 + 28).ffill(limit=55).astype(np.float32).astype(np.float64)
        apart = [(date - day).days for date in holidays.country_holidays("US", years=range(day.year - 1, day.year + 2))]
        first = self.begun.idxmax()
        columns = {f"lag{lag}": self.units.loc[day - lag * DAY] for lag in LAGS}
        columns |= {f"rolling_mean_{n}": _before(self.units, day, n).mean() for n in (7, 14, 28, 56)}
        columns |= {f"seasonal_rolling_mean_{n}_lag7": self.units.reindex(week[n]).mean() for n in week}
        return self.items.assign(**columns).assign(
            weekday=day.weekday(),
            price=price.iloc[-1],
            relative_price=price.iloc[-1].astype(np.float32) / price.tail(28).mean().astype(np.float32),
            promo=0,
            days_since_first_sale=[min((day - date).days, 60) for date in first],
            days_to_holiday=min([days for days in apart if 0 <= days <= 3], default=4),
            days_since_holiday=min([-days for days in apart if -1 <= days <= 0], default=2),
            store_id=self.items.index.get_level_values(0),
        )


def _before(table: pd.DataFrame, day: dt.date, days: int) -> pd.DataFrame:
    return table.loc[day - days * DAY : day - DAY]
