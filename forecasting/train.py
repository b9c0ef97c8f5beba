"""A recipe and a panel make a model; a model can be stored and comes back the same."""

from __future__ import annotations

import datetime as dt
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from forecasting import features
from forecasting.panel import Panel, day_number
from forecasting.tiers import tier_named
from forecasting.tiers.base import Tier
from mlops.intervals import Widths
from mlops.models import GLOBAL
from shelfops.refusals import Refusal

BOOSTER_FILE, MODEL_FILE = "booster.ubj", "model.json"
FORMAT = 1
ALIASES = {"eta": "learning_rate"}  # of what the tiers set
LOOKED_AT = 10_000  # rows of a fit


class NothingToLearn(Refusal):
    """The window holds no row to train on."""


class BadParameter(Refusal):
    """The booster does not know the parameter, or does not take its value."""


class Diverged(Refusal):
    """The fit has run away: what it forecasts is no number."""


@dataclass(frozen=True)
class Recipe:
    """What makes two fits comparable: tier, parameters (over the tier's own), training window and segment."""

    tier: str
    params: Mapping[str, Any] = field(default_factory=dict)
    window_days: int = 90
    segment: str = GLOBAL

    def booster_params(self) -> dict[str, Any]:
        """xgboost's parameters, without the number of rounds."""
        params = {**tier_named(self.tier).params, **self.params}
        params.pop("num_boost_round")
        return params | {"nthread": threads()}

    @property
    def rounds(self) -> int:
        return int({**tier_named(self.tier).params, **self.params}["num_boost_round"])


@dataclass(frozen=True)
class Model:
    """A fitted recipe: what it takes to forecast again, and on which days it was trained."""

    recipe: Recipe
    booster: xgb.Booster
    names: list[str]
    categories: features.Categories
    country: str
    first_target: dt.date
    last_target: dt.date
    rows: int
    widths: Widths | None = None

    @property
    def tier(self) -> Tier:
        return tier_named(self.recipe.tier)

    def predict(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Units for each row of a feature matrix, never negative."""
        return np.maximum(self.booster.inplace_predict(X), 0).astype(np.float32)

    def dmatrix(self, X: npt.NDArray[np.float32]) -> xgb.DMatrix:
        """The rows as xgboost takes them, categories marked."""
        return xgb.DMatrix(
            X, feature_names=self.names, feature_types=feature_types(self.names, self.tier), nthread=threads()
        )

    def with_widths(self, widths: Widths) -> Model:
        return replace(self, widths=widths)

    def files(self) -> dict[str, bytes]:
        """The model as files in open formats."""
        about = {
            "format": FORMAT,
            "recipe": asdict(self.recipe),
            "names": self.names,
            "categories": self.categories,
            "country": self.country,
            "first_target": self.first_target.isoformat(),
            "last_target": self.last_target.isoformat(),
            "rows": self.rows,
            "widths": asdict(self.widths) if self.widths else None,
        }
        return {
            BOOSTER_FILE: bytes(self.booster.save_raw("ubj")),
            MODEL_FILE: json.dumps(about, indent=1, sort_keys=True).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Model:
        """The model that `files()` described."""
        about = json.loads(files[MODEL_FILE])
        if about["format"] != FORMAT:
            raise ValueError("This model was stored by another version of ShelfOps, which has to read it.")
        booster = xgb.Booster({"nthread": threads()})
        booster.load_model(bytearray(files[BOOSTER_FILE]))
        return cls(
            recipe=Recipe(**about["recipe"]),
            booster=booster,
            names=about["names"],
            categories=about["categories"],
            country=about["country"],
            first_target=dt.date.fromisoformat(about["first_target"]),
            last_target=dt.date.fromisoformat(about["last_target"]),
            rows=about["rows"],
            widths=Widths(**about["widths"]) if about["widths"] else None,
        )


def threads() -> int:
    """Threads for one fit: what the worker was given, else all cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def feature_types(names: list[str], tier: Tier) -> list[str]:
    """`c` for categories, `q` for quantities, in the order of the matrix."""
    return ["c" if name in tier.statics else "q" for name in names]


def check_params(tier: str, params: Mapping[str, Any]) -> None:
    """Raises BadParameter for a name that xgboost does not know or a value it does not take, by a fit of a few rows.

    xgboost itself only warns of an unknown name: a typing error would become a recipe that differs in name alone. So
    would an alias of what the tier sets, since xgboost takes one of the two.
    """
    if not params:
        return
    if twice := [name for name in params if name in ALIASES]:
        raise BadParameter(" ".join(f"Write {ALIASES[name]} for {name}." for name in twice))
    wanted = Recipe(tier, params={**params, "num_boost_round": 1})
    rows = np.arange(32, dtype=np.float32).reshape(16, 2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            rounds = Recipe(tier, params=params).rounds
            xgb.train(wanted.booster_params(), xgb.DMatrix(rows, label=rows[:, 0]), num_boost_round=1)
        except (xgb.core.XGBoostError, ValueError, TypeError) as error:
            raise BadParameter(f"The booster does not take {_listed(params)}: {_said(error)}") from error
    if rounds < 1:
        raise BadParameter("num_boost_round must be at least 1.")
    if unused := [name for name in params if any(f'"{name}"' in str(warning.message) for warning in told)]:
        raise BadParameter(f"The booster knows no parameter {', '.join(unused)}. Check the spelling.")


def _listed(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in params.items())


def _said(error: Exception) -> str:
    """The line of xgboost's message that says what is wrong, without its stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def target_rows(panel: Panel, first: dt.date, last: dt.date) -> npt.NDArray[np.bool_]:
    """Which days of the panel may teach: observed, inside the window, and not a series' first day.

    A series begins with its first sale, so that day is above zero by selection, not by demand.
    """
    days = panel.days
    first_sold = np.repeat(panel.items["first_sold"].to_numpy(np.int64), panel.sizes)
    return panel.observed & (days >= day_number(first)) & (days <= day_number(last)) & (days > first_sold)


def fit(panel: Panel, recipe: Recipe, *, first: dt.date, last: dt.date, cores: int | None = None) -> Model:
    """A model trained on the targets from `first` to `last`; nothing after `last` is looked at.

    It takes all cores that the worker has, unless told how many.
    Raises NothingToLearn where no day in between was observed, Diverged where its parameters let it run away.
    """
    tier = tier_named(recipe.tier)
    panel = panel.between(day_number(first) - tier.lookback_days, day_number(last))
    rows = target_rows(panel, first, last)
    if not rows.any():
        raise NothingToLearn(f"No sales between {first} and {last} to learn from.")
    categories = features.categories_of(panel, tier)
    computed = features.matrix(panel, tier, categories, rows=rows, training=True)
    booster = boost(computed.X, panel.y[computed.at], computed.names, recipe, cores)
    if not np.isfinite(booster.inplace_predict(computed.X[:LOOKED_AT])).all():
        params = _listed(recipe.params) or "the tier's own"
        raise Diverged(f"The fit has run away, its forecasts are no numbers: choose milder parameters ({params}).")
    return Model(
        recipe=recipe,
        booster=booster,
        names=computed.names,
        categories=categories,
        country=panel.country,
        first_target=first,
        last_target=last,
        rows=len(computed.at),
    )


def boost(
    X: npt.NDArray[np.float32], y: npt.NDArray[np.float32], names: list[str], recipe: Recipe, cores: int | None = None
) -> xgb.Booster:
    """The booster of a feature matrix."""
    cores = cores or threads()
    types, params = feature_types(names, tier_named(recipe.tier)), recipe.booster_params() | {"nthread": cores}
    data = xgb.QuantileDMatrix(
        X, label=y, feature_names=names, feature_types=types, max_bin=params.get("max_bin", 256), nthread=cores
    )
    booster = xgb.train(params, data, num_boost_round=recipe.rounds)
    booster.set_param({"nthread": threads()})  # what it forecasts later has the worker to itself
    return booster
