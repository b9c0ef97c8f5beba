"""The rules for a file of planned prices and promotions."""

import datetime as dt
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from forecasting.intake import columns
from forecasting.intake.columns import BAD_DAY, NO_DAY, Days, to_day
from forecasting.intake.files import SourceFile, UnusableFile, open_file
from forecasting.intake.rejects import Rejects, Verdict
from forecasting.intake.sales import KEYS, converted, keys, mark_blank, prices, promos

PLAN_KEYS = ["store_id", "product_id", "date", "known_at"]


@dataclass(frozen=True)
class PlanFile:
    """Clean plans, one row per store, product, day and day of knowledge; stores and products by their database ids."""

    source: SourceFile
    rejects: Rejects
    accepted: int
    plans: pd.DataFrame

    @property
    def read(self) -> int:
        return self.accepted + len(self.rejects)


def read_plan(
    path: Path,
    *,
    zone: ZoneInfo,
    today: dt.date,
    known_at: dt.date,
    stores: dict[str, int],
    products: dict[str, int],
) -> PlanFile:
    """Reads and checks the file. `known_at` holds where the file does not say; nothing is known after `today`."""
    source = open_file(path, required=KEYS, optional=("unit_price", "promo", "known_at"))
    if not {"unit_price", "promo"} & source.columns.keys():
        raise UnusableFile(path, "plans nothing: it needs a column unit_price or promo, or both.")
    verdict = Verdict(source.rows)
    mark_blank(source, verdict)
    lines = keys(source, verdict, zone, latest=None)
    for name, known in (("store", stores), ("product", products)):
        ids = np.array([*(known.get(value, -1) for value in lines[name].values), -1], dtype=np.int64)
        lines[f"{name}_id"] = ids[lines.pop(name).codes]
        verdict.against(lines[f"{name}_id"] < 0, f"{name}_id is not known; load its sales first")
    lines["known_at"] = _known_at(source, verdict, zone, today=today, default=known_at)
    lines["unit_price"] = prices(source, verdict, sold=None)
    lines["promo"] = promos(source, verdict)
    verdict.against(np.isnan(lines["unit_price"]) & (lines["promo"] < 0), "neither unit_price nor promo is given")
    good = verdict.good
    plans = pd.DataFrame({name: values[good] for name, values in lines.items()})
    plans = plans.drop_duplicates(PLAN_KEYS, keep="last").sort_values(["date", "store_id", "product_id"])
    return PlanFile(source, Rejects(source, verdict), int(good.sum()), plans)


def _known_at(source: SourceFile, verdict: Verdict, zone: ZoneInfo, *, today: dt.date, default: dt.date) -> Days:
    if "known_at" not in source.columns:
        return np.full(source.rows, to_day(default), dtype=np.int32)
    day: Days = converted(source, "known_at", partial(columns.days, zone=zone))
    verdict.against(day == BAD_DAY, "known_at is not an ISO date such as 2026-01-31")
    verdict.against(day > to_day(today), f"known_at is after today, {today}")
    return np.where(day == NO_DAY, np.int32(to_day(default)), day)
