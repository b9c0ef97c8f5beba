"""What a feature tier is: which lags, windows and columns a model sees, in training and serving alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.known import Ints, Known
from forecasting.panel import Panel

Columns = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Tier:
    """One feature tier.

    `lags` and `transforms()` (lag -> window functions) are computed by mlforecast;
    `columns(panel, series, days, known)` gives one float32 array for each of `column_names` for those rows;
    `statics` are the columns of `panel.items` that enter as categories. `lag_days` is how much history before a day
    its lags and windows can depend on, `lookback_days` all of its features.
    """

    name: str
    lags: Sequence[int]
    transforms: Callable[[], Mapping[int, Sequence[Any]]]
    columns: Callable[[Panel, Ints, Ints, Known], Columns]
    column_names: Sequence[str]
    lag_days: int
    lookback_days: int
    params: Mapping[str, Any]
    statics: Sequence[str] = ()
    needs: Sequence[str] = ()
    min_history_days: int = 0


def codes(items: pd.DataFrame, name: str, categories: Sequence[str]) -> npt.NDArray[np.float32]:
    """Each item's category as its place in `categories`; NaN for one that training did not see, or an empty one."""
    found = pd.Categorical(items[name].astype(str), categories=list(categories)).codes.astype(np.float32)
    return np.where(found < 0, np.nan, found).astype(np.float32)
