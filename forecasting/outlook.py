"""What is known on a panel's last day of the days after it, worked out once for all models that forecast from there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from mlforecast import MLForecast

from forecasting import known
from forecasting.features import lag_engine, lag_frame
from forecasting.panel import Panel
from forecasting.tiers import TIERS
from forecasting.tiers.base import Tier, codes
from forecasting.train import Model

Floats = npt.NDArray[np.float32]


def days_back(active_days: int) -> int:
    """How many days before the last one a forecast may depend on, of whichever tier its model is."""
    return max(active_days, *(tier.lookback_days for tier in TIERS.values()))


class Outlook:
    """The end of a panel, as forecasts see it; each tier's features are computed when a model first asks for them."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._lags: dict[str, MLForecast] = {}
        self._columns: dict[str, Floats] = {}

    def lags(self, tier: Tier) -> MLForecast:
        """An engine that has read the last days of every series; ids are rows of `panel.items`."""
        if tier.name not in self._lags:
            recent = self.panel.between(first_day=self.panel.last_day - tier.lag_days)
            engine = lag_engine(tier)
            # The panel has no gaps and no duplicates by construction, so mlforecast's checks of that are left out.
            engine.ts.fit_transform(lag_frame(recent), "unique_id", "ds", "y", static_features=[], dropna=False)
            self._lags[tier.name] = engine
        return self._lags[tier.name]

    def columns(self, model: Model, series: npt.NDArray[np.integer], horizon: int) -> Floats:
        """What is not a lag, for `horizon` days of these rows of `panel.items` (series x horizon x columns)."""
        known_ahead = self._known_ahead(model.tier, horizon)[series, :horizon]
        items = self.panel.items.iloc[series]
        statics = [codes(items, name, model.categories[name]) for name in model.tier.statics]
        own = np.stack(statics, axis=-1) if statics else np.empty((len(series), 0), np.float32)
        return np.concatenate([known_ahead, np.repeat(own[:, None], horizon, axis=1)], axis=2)

    def _known_ahead(self, tier: Tier, horizon: int) -> Floats:
        """The tier's columns of every series, for at least so many days."""
        former = self._columns.get(tier.name)
        if former is None or former.shape[1] < horizon:
            n = len(self.panel.items)
            series = np.repeat(np.arange(n), horizon)
            days = np.tile(self.panel.last_day + 1 + np.arange(horizon), n)
            computed = tier.columns(self.panel, series, days, known.ahead(self.panel, horizon))
            table = np.stack([computed[name] for name in tier.column_names], axis=-1)
            self._columns[tier.name] = table.reshape(n, horizon, -1).astype(np.float32)
        return self._columns[tier.name]
