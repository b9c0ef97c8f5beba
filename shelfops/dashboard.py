"""The first page: what needs a decision, how the champion does, what runs, and how fresh everything is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from forecasting.freshness import Freshness, freshness
from mlops.addresses import life_url
from mlops.champion_health import Health, health
from mlops.figures import UNKNOWN, better, percent
from mlops.models import ModelExperiment, ModelPolicy
from shelfops import chosen, run_page, schedules, tenancy
from shelfops.models import Customer, JobRun, User
from shelfops.tenancy import Action
from shelfops.waiting import waiting

MOST_RUNS = 5
OPEN_EXPERIMENTS = ("proposed", "approved", "in_progress", "shadow_testing")


@dataclass(frozen=True)
class Step:
    """What a new customer does next, in order."""

    name: str
    is_done: bool
    how: str
    command: str = ""
    url: str = ""


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the theme calls before it shows the first page."""
    customer = chosen.customer(request)
    shown = {"customer": customer, "customers": chosen.customers(request)}
    return {**context, **shown, **(_of(customer, cast(User, request.user)) if customer else {})}


def _of(customer: Customer, user: User) -> dict[str, Any]:
    policy, rights = ModelPolicy.of(customer), tenancy.rights_of(user, customer)
    found, fresh = health(customer, policy), freshness(customer, policy)
    experiments, (running, ended) = _experiments(customer), _runs(customer)
    steps = list(_steps(customer, found, fresh))
    return {
        "today": fresh.today,
        **waiting(customer, user, rights, policy, has_proposals=bool(experiments.get("proposed"))),
        "health": found,
        "policy": policy,
        "chart": found.chart() if found and found.checks else None,
        "fresh": fresh,
        "running": running,
        "runs": ended,
        "coming": _coming(customer),
        "experiments": [_counted(status, experiments, customer) for status in _shown(experiments)],
        "may_propose": Action.PROPOSE_EXPERIMENT in rights,
        "champion_url": life_url(found.champion, customer) if found else "",
        "coverage": percent(found.coverage if found else None),
        "against_naive": _better(found.against_naive_pct if found else None),
        "wanted": f"{policy.interval_level:.0%}".replace("%", " %"),
        "steps": [] if all(step.is_done for step in steps) else steps,
    }


def _better(value: float | None) -> str:
    return UNKNOWN if value is None else better(value, "%")


def _experiments(customer: Customer) -> dict[str, int]:
    rows = ModelExperiment.objects.filter(customer=customer).order_by().values_list("status")
    return dict(rows.annotate(Count("pk")))


def _shown(experiments: dict[str, int]) -> list[ModelExperiment.Status]:
    """The open states always, the others where there is one."""
    return [
        status for status in ModelExperiment.Status if status.value in OPEN_EXPERIMENTS or experiments.get(status.value)
    ]


def _counted(status: ModelExperiment.Status, experiments: dict[str, int], customer: Customer) -> tuple[str, int, str]:
    """Name, number, and the list of them."""
    asked = urlencode({"status__exact": status.value, "customer__id__exact": customer.pk})
    url = f"{reverse('admin:mlops_modelexperiment_changelist')}?{asked}"
    return status.label, experiments.get(status.value, 0), url


def _runs(customer: Customer) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Those at work or waiting, and those that ended last."""
    newest = JobRun.objects.filter(customer=customer).select_related("requested_by").defer("result", "stages")
    rows = [_run(run) for run in newest.order_by("-created_at", "-id")[:MOST_RUNS]]
    return [row for row in rows if not row["run"].is_over], [row for row in rows if row["run"].is_over]


def _run(run: JobRun) -> dict[str, Any]:
    colour = run_page.COLOURS.get(JobRun.Status(run.status), "default")
    return {"run": run, "title": run_page.title(run), "colour": colour}


def _coming(customer: Customer) -> list[dict[str, Any]]:
    """What the timetable does next, the soonest first."""
    titles = {line.job: line.title for line in schedules.TIMETABLE}
    coming = [
        {"title": titles[job], "at": schedules.next_dues(line.crontab.schedule, timezone.now(), 1)[0]}
        for job, line in schedules.lines_of(customer).items()
        if line.enabled
    ]
    return sorted(coming, key=lambda one: one["at"])


def _steps(customer: Customer, found: Health | None, fresh: Freshness) -> Iterator[Step]:
    retrain = reverse("admin:mlops_modelretraininglog_changelist") + "retrain-now/"
    has_sales = fresh.last_sales_day is not None
    load = f"manage.py load_sales sales.csv --customer {customer.slug}"
    yield Step("Load sales", has_sales, "A file with date, store, product and quantity, on the server:", load)
    train = "It needs some weeks of sales and takes some minutes."
    yield Step("Train the first model", found is not None, train, url=retrain if has_sales else "")
    nightly = "The night makes them by itself once there is a model. To have them now, on the server:"
    yield Step("Forecast", fresh.forecasts is not None, nightly, f"manage.py run_day --customer {customer.slug}")
