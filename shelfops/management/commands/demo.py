"""Loads real grocery sales, trains on them, holds the forecasts against what was sold, and serves the site."""

import datetime as dt
import os
import secrets
import sys
import tempfile
import time
from argparse import ArgumentParser, BooleanOptionalAction
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from django.core.management import call_command
from rich.console import Console
from rich.table import Table

from alerts.models import MLAlert
from forecasting import demo, demo_experiments
from forecasting.feed import mark_day
from forecasting.loading import load_sales
from forecasting.models import FeedDay, Forecast, Store
from forecasting.planning import load_plan
from forecasting.prepared import prepare
from forecasting.replay import decisions, last_run, replay
from mlops.incidents import of_challenger
from mlops.metrics import measure
from mlops.models import ModelExperiment, ModelVersion
from mlops.review import review
from shelfops import customers, people, schedules
from shelfops.management.base import Command as Base
from shelfops.management.base import Report
from shelfops.management.commands.replay import decisions_table
from shelfops.models import Customer, Role, User

SLUG = "demo"
PLANTED = " (with planted demand shocks)"
END = dt.date(2017, 12, 31)
TODAY = END + dt.timedelta(days=1)
CHRISTMAS = dt.date(2017, 12, 25)
WEEKS = 10
FIRST_DAY = TODAY - dt.timedelta(weeks=WEEKS)
JUDGED_DAYS = 28
# People decide what comes up to this day; what comes later waits for whoever opens the site.
DECIDED_UNTIL = dt.date(2017, 12, 17)
ASKING = (MLAlert.Type.DRIFT_DETECTED, MLAlert.Type.PROMOTION_PENDING)
WHO = {MLAlert.Type.DRIFT_DETECTED: Role.DATA_SCIENTIST, MLAlert.Type.PROMOTION_PENDING: Role.ML_MANAGER}
PEOPLE = {
    Role.ML_MANAGER: "manager@shelfops.example",
    Role.DATA_SCIENTIST: "scientist@shelfops.example",
    Role.RETAIL_OPS: "operations@shelfops.example",
}


class Command(Base):
    help = "Load the demo's real grocery sales, train on them and judge the forecasts; then serve the site."
    needs_customer = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--shock",
            action=BooleanOptionalAction,
            default=True,
            help="plant two jumps of demand in the sales, so that there is drift to detect (default)",
        )

    def run(self, customer: None, **options: Any) -> Report:  # type: ignore[override]  # no customer of its own
        started = time.perf_counter()
        call_command("migrate", verbosity=0)
        retailer = self._customer(shock=options["shock"])
        logins = self._people(retailer)
        manager = User.objects.get(email=PEOPLE[Role.ML_MANAGER])
        if last_run(retailer) != TODAY:
            self._build(retailer, manager, shock=options["shock"])
        return {
            "customer": retailer.slug,
            "planted": PLANTED if PLANTED in retailer.name else "",
            "first_day": FIRST_DAY,
            "today": TODAY,
            "days_judged": JUDGED_DAYS,
            "decisions": [asdict(decided) for decided in decisions(retailer, FIRST_DAY, TODAY)],
            "departments": _by_department(retailer),
            "open": _open(retailer),
            "logins": logins,
            "seconds": round(time.perf_counter() - started, 1),
        }

    def _customer(self, *, shock: bool) -> Customer:
        known = Customer.objects.filter(slug=SLUG).first()
        name = f"Complete Journey Grocers{PLANTED if shock else ''}"
        return known or customers.create(Customer(slug=SLUG, name=name, timezone="America/New_York", clock=FIRST_DAY))

    def _people(self, retailer: Customer) -> list[Report]:
        """One person of each role; the password is made anew each time, so that none is in the code."""
        password = secrets.token_urlsafe(9)
        for role, email in PEOPLE.items():
            people.add_member(email, retailer, role, password=password)
        return [{"email": email, "role": role.label, "password": password} for role, email in PEOPLE.items()]

    def _build(self, retailer: Customer, manager: User, *, shock: bool) -> None:
        if last_run(retailer) is None:
            self._load(retailer, manager, shock=shock)
        with self.progress(f"Replaying {WEEKS} weeks of days", takes_minutes=True) as advance:
            replay(
                retailer,
                last_run(retailer) or FIRST_DAY,
                TODAY,
                retrain_due=partial(schedules.falls_on, retailer, "retrain"),
                after_day=partial(_act, retailer),
                advance=advance,
            )
        prepare(retailer)

    def _load(self, retailer: Customer, manager: User, *, shock: bool) -> None:
        with self.progress("Reading the grocery panel") as advance, tempfile.TemporaryDirectory() as folder:
            sales_file, plan_file = demo.files(Path(folder), shock=shock)
            advance(1, 1)
            with self.progress("Loading sales") as step:
                load_sales(retailer, sales_file, advance=step)
            with self.progress("Loading promotions") as step:
                load_plan(retailer, plan_file, advance=step)
        for store in Store.objects.filter(customer=retailer):
            mark_day(store, CHRISTMAS, FeedDay.Status.CLOSED, by=manager, note="Christmas Day")

    def show(self, report: Report) -> None:
        console = Console(width=None if sys.stdout.isatty() else 118)
        if report["planted"]:
            console.print("The sales are real but for what was planted in them, so that there is drift to detect:")
            for shock in demo.SHOCKS:
                console.print(
                    f"  from {shock.first_day} on ten of the twenty stores sell {shock.factor:g} times as much."
                )
        console.print(decisions_table(report["decisions"], f"What was decided in {WEEKS} weeks, day by day"))
        console.print(_as_table(report))
        for alert in report["open"]:
            console.print(f"Open ({alert['severity']}): {alert['title']}")
        serve = os.environ.get("DEMO_SERVE", "1") != "0"
        console.print(f"Today is {report['today']} at the demo's retailer. Made in {report['seconds']:.0f} s.")
        console.print("Log in to the site as:" if serve else "`make run` serves the site; log in as:")
        for person in report["logins"]:
            console.print(f"  {person['role']}: {person['email']}  password {person['password']}")
        if serve:
            call_command("serve")


def _act(retailer: Customer, day: dt.date) -> None:
    """What the demo's people do at the end of a day."""
    _decide(retailer, day)
    scientist, manager = (User.objects.get(email=PEOPLE[role]) for role in (Role.DATA_SCIENTIST, Role.ML_MANAGER))
    demo_experiments.take_steps(retailer, day, scientist=scientist, manager=manager)


def _decide(retailer: Customer, day: dt.date) -> None:
    """They review what asks for it, by its own numbers."""
    if day > DECIDED_UNTIL:
        return
    asked = MLAlert.objects.open().filter(customer=retailer, alert_type__in=ASKING).exclude(version="")
    for alert in asked.order_by("pk"):
        by = User.objects.get(email=PEOPLE[WHO[MLAlert.Type(alert.alert_type)]])
        version = ModelVersion.objects.get(customer=retailer, model_name=alert.model_name, version=alert.version)
        if version.status == ModelVersion.Status.CHALLENGER:
            _review(version, by)


def _review(version: ModelVersion, by: User) -> None:
    """Approves what was at least as good as the champion on the same rows."""
    improvement = version.decision.get("comparison", {}).get("improvement_pct")
    is_better = improvement is not None and improvement > 0
    found = "unknown" if improvement is None else f"{abs(improvement):.1f} % {'better' if is_better else 'worse'}"
    incident = of_challenger(version)
    review(
        version,
        "approve" if is_better else "reject",
        by=by,
        notes=f"Read the backtest and the drivers: {found} than the champion on the same rows.",
        verdict=incident.suggested_verdict if incident else "",
    )


def _open(retailer: Customer) -> list[Report]:
    """What waits for a decision when the site opens."""
    alerts = MLAlert.objects.open().filter(customer=retailer, requires_action=True)
    asked = ModelExperiment.objects.filter(customer=retailer, status=ModelExperiment.Status.PROPOSED)
    return [{"severity": alert.severity, "title": alert.title, "at": alert.action_url} for alert in alerts] + [
        {"severity": "info", "title": f"Experiment “{one}” waits for a manager", "at": f"/experiments/{one.pk}/results"}
        for one in asked
    ]


def _by_department(retailer: Customer) -> list[Report]:
    """The last weeks as a whole, then each department: what served, one day ahead, beside seasonal naive."""
    served = Forecast.objects.filter(
        run__customer=retailer, lead=1, date__gt=END - dt.timedelta(days=JUDGED_DAYS), actual__isnull=False
    )
    columns = ["department", "prediction", "seasonal_naive", "lower", "upper", "actual"]
    rows = pd.DataFrame.from_records(served.values_list(*columns), columns=columns).rename(columns={"actual": "y"})
    naive = rows.drop(columns=["lower", "upper"]).assign(prediction=rows["seasonal_naive"])
    whole = {"": (measure(rows).iloc[0], measure(naive).iloc[0])}
    own, theirs = measure(rows, ["department"]), measure(naive, ["department"])
    largest_first = own.sort_values("units", ascending=False).index
    whole |= {name: (own.loc[name], theirs.loc[name]) for name in largest_first}
    return [
        {
            "department": name or "All",
            **{key: _known(ours[key]) for key in ("units", "mae", "wape", "bias", "coverage")},
            **{f"naive_{key}": _known(naive[key]) for key in ("mae", "wape", "bias")},
        }
        for name, (ours, naive) in whole.items()
    ]


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def _as_table(report: Report) -> Table:
    table = Table(
        title=f"Forecasts of the last {report['days_judged']} days, one day ahead, against what was sold",
        caption="MAE: units by product, store and day. Naive: the same weekday a week before.",
    )
    pairs = ("MAE", "naive", "WAPE", "naive", "Bias", "naive")
    for name in ("Department", "Units", *pairs, "In 90 % interval", "MAE against naive"):
        table.add_column(name, justify="left" if name == "Department" else "right")
    for row in report["departments"]:
        gain = 1 - row["mae"] / row["naive_mae"]
        table.add_row(
            row["department"],
            f"{row['units']:,.0f}",
            f"{row['mae']:.2f}",
            f"{row['naive_mae']:.2f}",
            f"{row['wape']:.0%}",
            f"{row['naive_wape']:.0%}",
            f"{row['bias']:+.1%}",
            f"{row['naive_bias']:+.1%}",
            "–" if row["coverage"] is None else f"{row['coverage']:.0%}",
            f"{gain:.0%} better" if gain > 0 else f"{-gain:.0%} WORSE",
        )
    return table
