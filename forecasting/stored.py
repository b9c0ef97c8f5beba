"""A fit as a registered version, and a registered version as a model again."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from forecasting import segments
from forecasting.evaluate import SEASONAL_NAIVE, Judged
from forecasting.features import matrix
from forecasting.panel import Panel, as_date
from forecasting.predict import predict, velocity_bands, with_intervals
from forecasting.protocols import Fitted
from forecasting.train import Model, target_rows
from mlops import backtests, explain, registry
from mlops.metrics import COUNTS, METRICS, measure
from mlops.models import ModelPolicy, ModelVersion

EVALUATION, SERVING, PREVIEW = "evaluation-", "serving-", "preview.parquet"


def trained(
    fitted: Fitted,
    panel: Panel,
    as_of: dt.date,
    policy: ModelPolicy,
    products: Sequence[str],
    explained: Sequence[explain.Importance],
) -> registry.Trained:
    """What the registry keeps of a fit: where it comes from, how it did, both boosters, importances and the preview."""
    files = {SERVING + name: data for name, data in fitted.serving.files().items()}
    files |= {EVALUATION + name: data for name, data in fitted.evaluation.files().items()}
    files[PREVIEW] = _parquet(preview(fitted.serving, panel, policy))
    return registry.Trained(
        recipe=asdict(fitted.serving.recipe),
        as_of=as_of,
        evaluation=(fitted.evaluation.first_target, fitted.evaluation.last_target),
        training=(fitted.serving.first_target, fitted.serving.last_target),
        rows=fitted.serving.rows,
        series=len(panel.items),
        products=products,
        data_hash=data_hash(panel),
        files=files,
        metrics=summary(fitted, policy.decision_leads),
        importances=[asdict(one) for one in explained],
    )


def load_model(version: ModelVersion, part: str = SERVING) -> Model:
    """The version's serving or evaluation fit. Raises artefacts.BrokenArtefact where its files were changed."""
    files = registry.files_of(version)
    return Model.from_files({name.removeprefix(part): data for name, data in files.items() if name.startswith(part)})


def load_preview(version: ModelVersion) -> pd.DataFrame:
    """What the version expected when it was registered: unique_id, ds, lead, prediction, lower, upper."""
    return pd.read_parquet(io.BytesIO(registry.files_of(version)[PREVIEW]))


def preview(model: Model, panel: Panel, policy: ModelPolicy) -> pd.DataFrame:
    """The days after the panel's last for every active series, with intervals."""
    active = panel.select(panel.active(policy.active_days))
    bands = velocity_bands(active, policy.velocity_medium_from, policy.velocity_fast_from)
    return with_intervals(predict(model, active, policy.horizon_days), model, bands)


def _parquet(frame: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.astype({"unique_id": str}).to_parquet(out, index=False)
    return out.getvalue()


def summary(fitted: Fitted, decision_leads: int) -> dict[str, Any]:
    """The hold-out in one line: metrics over the deciding leads, and seasonal naive's on the same rows."""
    near = fitted.judged.near(decision_leads)
    own, naive = _plain(measure(near)), _plain(measure(as_naive(near)))
    recipe = fitted.serving.recipe
    return own | {
        "tier": segments.tier_of(recipe.segment) or recipe.tier,
        "segment": segments.name_of(recipe.segment),
        "excluded": None if segments.is_of_days(recipe.segment) else fitted.judged.excluded,
        "seasonal_naive_mae": naive["mae"],
        "seasonal_naive_rmse": naive["rmse"],
    }


def importances(model: Model, panel: Panel) -> list[explain.Importance]:
    """What moves the model, on a sample of the rows it was trained on."""
    rows = np.flatnonzero(target_rows(panel, model.first_target, model.last_target))
    chosen = np.zeros(len(panel), dtype=bool)
    chosen[rows[explain.sample(len(rows))]] = True
    series = np.zeros(len(panel.items), dtype=bool)
    series[panel.series[chosen]] = True  # the sample's own series are enough for its features
    few = panel.select(series)
    computed = matrix(few, model.tier, model.categories, rows=chosen[series[panel.series]], training=True)
    objective = model.recipe.booster_params()["objective"]
    return explain.importances(model.booster, model.dmatrix(computed.X), objective)


def results(judged: Judged, policy: ModelPolicy) -> dict[str, pd.DataFrame]:
    """What the ledger keeps of the held-out rows: the version's own metrics under "", and seasonal naive's."""
    batch = judged.lead_one
    naive_batch = None if batch is None else as_naive(batch)
    return {
        "": backtests.results(judged.rows, batch, policy),
        SEASONAL_NAIVE: backtests.results(as_naive(judged.rows), naive_batch, policy),
    }


def champion_results(rows: pd.DataFrame, policy: ModelPolicy) -> pd.DataFrame:
    """How the champion's recipe did on the rows that decide."""
    theirs = rows.assign(prediction=rows["champion"], lower=rows["champion_lower"], upper=rows["champion_upper"])
    return backtests.results(theirs, None, policy)


def as_naive(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows with seasonal naive's forecast instead of the model's."""
    return rows.assign(prediction=rows["naive"]).drop(columns=["lower", "upper"], errors="ignore")


def _plain(table: pd.DataFrame) -> dict[str, float | int | None]:
    first = table.iloc[0]
    counts = {name: int(first[name]) for name in COUNTS}
    return counts | {
        name: None if pd.isna(first[name]) else float(first[name]) for name in METRICS if name not in counts
    }


def data_hash(panel: Panel) -> str:
    """SHA-256 of what the panel holds: the same sales give the same hash, one changed unit another."""
    digest = hashlib.sha256()
    for values in (panel.start, panel.y, panel.observed, panel.price, panel.promo):
        digest.update(np.ascontiguousarray(values).data)
    for table in (panel.items, panel.plans):
        digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().data)
    digest.update(panel.country.encode())
    digest.update(as_date(panel.last_day).isoformat().encode())
    return digest.hexdigest()
