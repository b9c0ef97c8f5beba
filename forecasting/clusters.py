"""Clusters of stores that sell alike: k-means proposes them and says why, and a person accepts them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from forecasting import catalogue, sales
from forecasting.models import Store
from forecasting.panel import Panel, as_date
from mlops.models import ModelPolicy
from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.refusals import Refusal
from shelfops.tenancy import Action

LEAST_K, MOST_K = 2, 6
SEED, STARTS = 0, 20
LEAST_STORES = 3
# Below it "no substantial structure has been found" (Kaufman and Rousseeuw, *Finding Groups in Data*, 1990).
TELLING_SILHOUETTE = 0.25
MOST_NAMED = 3
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LEVEL, PROMO, VOLATILITY, MIX, WEEKDAY = "level", "promotion", "volatility", "department", "weekday"
Floats = npt.NDArray[np.float64]


class NothingToCluster(Refusal):
    """The stores cannot be told apart; the message says why."""


class BadNames(Refusal):
    """The clusters' names cannot be taken."""


class ProposalChanged(Refusal):
    """The sales have changed since the person saw the proposal."""


@dataclass(frozen=True)
class Trait:
    """How a cluster differs: by so many standard deviations from the mean of all stores, and that in words."""

    feature: str
    z: float
    words: str


@dataclass(frozen=True)
class Cluster:
    """Stores that sell alike, what sets them apart, strongest first, and a name that they could have."""

    name: str
    stores: tuple[str, ...]
    traits: tuple[Trait, ...]


@dataclass(frozen=True)
class Proposal:
    """Nothing is written by it. `left_out` are stores without sales in the window: they keep what they have."""

    k: int
    silhouette: float
    silhouettes: Mapping[int, float]
    clusters: tuple[Cluster, ...]
    left_out: tuple[str, ...]
    first_day: dt.date
    last_day: dt.date

    @property
    def digest(self) -> str:
        """Names this very division, so that one can tell whether it is still the one that was shown."""
        text = "\n".join(",".join(cluster.stores) for cluster in self.clusters)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def is_telling(self) -> bool:
        return self.silhouette >= TELLING_SILHOUETTE

    def as_json(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "silhouette": self.silhouette,
            "silhouettes": {str(k): value for k, value in self.silhouettes.items()},
            "first_day": self.first_day,
            "last_day": self.last_day,
            "clusters": [
                {
                    "name": cluster.name,
                    "stores": list(cluster.stores),
                    "traits": [{"feature": one.feature, "z": one.z, "words": one.words} for one in cluster.traits],
                }
                for cluster in self.clusters
            ],
            "left_out": list(self.left_out),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Proposal:
        """What `as_json` has said, its days as text or not."""
        clusters = [
            Cluster(one["name"], tuple(one["stores"]), tuple(Trait(**trait) for trait in one["traits"]))
            for one in kept["clusters"]
        ]
        first_day, last_day = (dt.date.fromisoformat(str(kept[name])) for name in ("first_day", "last_day"))
        silhouettes = {int(k): value for k, value in kept["silhouettes"].items()}
        return cls(
            kept["k"], kept["silhouette"], silhouettes, tuple(clusters), tuple(kept["left_out"]), first_day, last_day
        )


@dataclass(frozen=True)
class Sold:
    """The traits of the stores that sold in the window, and those that did not."""

    features: pd.DataFrame
    left_out: tuple[str, ...]
    first_day: dt.date
    last_day: dt.date

    def proposal(self, k: int | None) -> Proposal:
        chosen, silhouettes, labels = divide(self.features, k)
        found = describe(self.features, labels)
        return Proposal(
            chosen, silhouettes[chosen], silhouettes, found, self.left_out, self.first_day, self.last_day
        )  # fmt: skip


def propose(customer: Customer, *, k: int | None = None) -> Proposal:
    """Clusters by the sales of the policy's training window; `k` by the best silhouette unless it is given."""
    return _sold(customer).proposal(k)


def propose_each(customer: Customer) -> dict[str, dict[str, Any]]:
    """As JSON what each number proposes, under "" the best one; or why a number proposes nothing."""
    numbers = (None, *range(LEAST_K, MOST_K + 1))
    try:
        sold = _sold(customer)
    except Refusal as nothing:
        return {_key(k): {"nothing": str(nothing)} for k in numbers}
    found = {}
    for k in numbers:
        try:
            found[_key(k)] = sold.proposal(k).as_json()
        except NothingToCluster as nothing:
            found[_key(k)] = {"nothing": str(nothing)}
    return found


def _key(k: int | None) -> str:
    return str(k or "")


def proposed(each: Mapping[str, Mapping[str, Any]], k: int | None) -> Proposal:
    """One of what `propose_each` has found. Raises NothingToCluster."""
    found = each[_key(k)]
    if "nothing" in found:
        raise NothingToCluster(found["nothing"])
    return Proposal.from_json(found)


def _sold(customer: Customer) -> Sold:
    policy = ModelPolicy.of(customer)
    last_day = sales.last_complete_day(customer, customer.today(), policy)
    first_day = last_day - dt.timedelta(days=policy.train_days - 1)
    panel = sales.panel(customer, last_day=last_day, since=first_day, plans_since=last_day)
    if panel.items.empty:
        raise NothingToCluster(f"Nothing was sold from {first_day} to {last_day}. Load sales first.")
    features = store_features(panel)
    left_out = sorted(set(catalogue.store_ids(customer)) - set(features.index))
    return Sold(features, tuple(left_out), first_day, last_day)


# --- What tells stores apart


def store_features(panel: Panel) -> pd.DataFrame:
    """One row for each store that sold: (group, name) columns of its demand on observed days.

    The level is the logarithm of units a day; volatility the deviation of its days by their mean; promotion the share
    of its rows on promotion; weekday and department the shares of its units.
    """
    codes, stores = pd.factorize(panel.items["store_id"].astype(str), sort=True)
    at = codes[panel.series]
    first, n_days = int(panel.start.min()), int(panel.last_day - panel.start.min() + 1)
    cell = at * n_days + (panel.days - first)
    seen = np.bincount(cell[panel.observed], minlength=len(stores) * n_days).reshape(len(stores), n_days) > 0
    units = np.where(panel.observed, panel.y, 0).astype(np.float64)
    daily = np.bincount(cell, weights=units, minlength=len(stores) * n_days).reshape(len(stores), n_days)
    sold = daily.sum(axis=1) > 0
    weekday = np.array([as_date(first + day).weekday() for day in range(n_days)])
    columns: dict[tuple[str, str], Any] = {
        (LEVEL, ""): _each(daily, seen, lambda days: np.log(days.mean()) if days.mean() > 0 else np.nan),
        (VOLATILITY, ""): _each(daily, seen, lambda days: days.std() / days.mean() if days.mean() > 0 else np.nan),
        (PROMO, ""): _promo_share(panel, at, len(stores)),
    }
    by_weekday = np.array([_each(daily[:, weekday == n], seen[:, weekday == n], np.mean) for n in range(7)])
    week = np.nansum(by_weekday, axis=0)
    week = np.where(week > 0, week, np.nan)
    columns |= {(WEEKDAY, name): by_weekday[n] / week for n, name in enumerate(WEEKDAYS)}
    departments = panel.items["department"].astype(str).to_numpy()
    total = np.bincount(at, weights=units, minlength=len(stores))
    for name in sorted(set(departments) - {""}):
        own = np.bincount(at, weights=np.where(departments[panel.series] == name, units, 0), minlength=len(stores))
        columns[MIX, name] = own / np.where(total > 0, total, np.nan)
    return pd.DataFrame(columns, index=pd.Index(stores, name="store"))[sold]


def _each(daily: npt.NDArray[Any], seen: npt.NDArray[np.bool_], of: Any) -> Floats:
    """Of each store's observed days; NaN where there are none."""
    return np.array([of(row[known]) if known.any() else np.nan for row, known in zip(daily, seen, strict=True)])


def _promo_share(panel: Panel, at: npt.NDArray[np.int64], stores: int) -> Floats:
    known = panel.observed & ~np.isnan(panel.promo)
    rows = np.bincount(at[known], minlength=stores)
    promoted = np.bincount(at[known], weights=panel.promo[known], minlength=stores)
    return promoted / np.where(rows > 0, rows, np.nan)


def standardised(features: pd.DataFrame) -> pd.DataFrame:
    """Columns in standard deviations from the mean of all stores; what is unknown, or the same everywhere, is 0."""
    deviation = features.std(ddof=0)
    return ((features - features.mean()) / deviation.where(deviation > 1e-9)).fillna(0.0)


def divide(features: pd.DataFrame, k: int | None) -> tuple[int, dict[int, float], npt.NDArray[np.int64]]:
    """The number of clusters, the silhouette of each number tried, and each store's cluster.

    Each group of columns weighs the same, however many it has: seven weekdays would drown the level otherwise.
    """
    if len(features) < LEAST_STORES:
        raise NothingToCluster(f"{len(features)} stores have sales; clusters need at least {LEAST_STORES}.")
    if k is not None and not LEAST_K <= k <= min(MOST_K, len(features) - 1):
        raise NothingToCluster(f"{len(features)} stores make {LEAST_K} to {min(MOST_K, len(features) - 1)} clusters.")
    scaled = standardised(features)
    groups = scaled.columns.get_level_values(0).tolist()
    points = scaled.to_numpy() / np.sqrt([groups.count(group) for group in groups])
    different = len(np.unique(points.round(9), axis=0))
    tried = [k] if k else list(range(LEAST_K, min(MOST_K, len(features) - 1) + 1))
    tried = [number for number in tried if number <= different]
    if different < LEAST_K or not tried:
        raise NothingToCluster("The stores sell alike in everything that is known: nothing sets clusters apart.")
    labels = {number: KMeans(number, n_init=STARTS, random_state=SEED).fit_predict(points) for number in tried}
    silhouettes = {number: float(silhouette_score(points, found)) for number, found in labels.items()}
    best = max(tried, key=lambda number: (silhouettes[number], -number))
    return best, silhouettes, labels[best]


# --- What sets each apart


def describe(features: pd.DataFrame, labels: npt.NDArray[np.int64]) -> tuple[Cluster, ...]:
    """The clusters, the largest first, each with its traits and a name of its own."""
    scaled = standardised(features)
    found = sorted((sorted(features.index[labels == one]) for one in set(labels)), key=lambda one: (-len(one), one))
    clusters: list[Cluster] = []
    for number, stores in enumerate(found, start=1):
        centre = scaled.loc[stores].mean()
        strongest = centre[centre.abs().sort_values(ascending=False, kind="stable").index]
        traits = tuple(Trait(_label(key), float(z), _words(key, z)) for key, z in strongest[:MOST_NAMED].items() if z)
        taken = {cluster.name for cluster in clusters}
        names = [_name(key, z) for key, z in strongest[:MOST_NAMED].items() if z]
        name = next((one for one in names if one not in taken), f"Cluster {number}")
        clusters.append(Cluster(name, tuple(stores), traits))
    return tuple(clusters)


def _label(key: Any) -> str:
    group, name = key
    plain = {LEVEL: "units a day", VOLATILITY: "variation from day to day", PROMO: "share on promotion"}
    return plain.get(group) or f"share of {name}{'s' if group == WEEKDAY else ''}"


def _words(key: Any, z: float) -> str:
    (group, name), more = key, "more" if z > 0 else "less"
    told = {
        LEVEL: f"sells {more} a day",
        VOLATILITY: f"varies {more} from day to day",
        PROMO: f"is on promotion {'more often' if z > 0 else 'less often'}",
        WEEKDAY: f"sells {more} of its units on {name}s",
        MIX: f"sells {more} {name}, by its share",
    }
    return told[group]


def _name(key: Any, z: float) -> str:
    (group, name), high = key, z > 0
    if group in (WEEKDAY, MIX):
        return f"{name} {'strong' if high else 'weak'}"
    return {
        LEVEL: ("Large", "Small"),
        VOLATILITY: ("Uneven", "Steady"),
        PROMO: ("Many promotions", "Few promotions"),
    }[group][0 if high else 1]


# --- Accepting it


def accept(customer: Customer, *, names: Sequence[str], k: int, digest: str, by: User) -> int:
    """Gives the stores the clusters of this very proposal under these names; how many stores have changed.

    Raises ProposalChanged where the sales propose another division by now, BadNames, and NotAllowed.
    """
    tenancy.require(by, customer, Action.LOAD_DATA)
    proposal = propose(customer, k=k)
    if proposal.digest != digest:
        raise ProposalChanged("Sales have come in since, and they propose other clusters. Look at them, then accept.")
    named = _checked([name.strip() for name in names], len(proposal.clusters))
    of_store = {
        code: name for name, cluster in zip(named, proposal.clusters, strict=True) for code in cluster.stores
    }  # fmt: skip
    return catalogue.set_clusters(customer, of_store, by=by, reason=f"accepted k-means with {k} clusters")


def _checked(names: list[str], wanted: int) -> list[str]:
    longest = Store._meta.get_field("cluster").max_length or 0
    if len(names) != wanted or not all(names):
        raise BadNames("Give each cluster a name: segments are made and shown by it.")
    if len({name.casefold() for name in names}) < len(names):
        raise BadNames("Two clusters have the same name. Give each its own, or propose fewer clusters.")
    if any(len(name) > longest for name in names):
        raise BadNames(f"A name may have {longest} letters.")
    return names
