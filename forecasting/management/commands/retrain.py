"""Retrains now, in this process, and prints what became of it."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from forecasting.orders import Trigger
from forecasting.retraining_job import retrain_here
from forecasting.segments import TIERED
from forecasting.tiers import TIERS
from mlops.models import ModelRetrainingLog, ModelVersion
from mlops.routing import in_words
from shelfops.management.base import Command as Base
from shelfops.management.base import Report, iso_date
from shelfops.models import Customer

STALE_DAYS = 7


class Command(Base):
    help = "Retrain: fit, judge on held-out days, compare with the champion, decide and log."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--trigger", choices=Trigger.values, default=Trigger.MANUAL)
        parser.add_argument("--as-of", type=iso_date, metavar="DATE", help="default: the customer's today")
        parser.add_argument("--reason", default="", help="why; a manual retrain has to say")
        parser.add_argument("--experiment", metavar="ID", help="the experiment that asks for it")
        parser.add_argument(
            "--tier", choices=sorted({**TIERS, **TIERED}), help="another feature tier than the champion's"
        )
        parser.add_argument("--window", type=int, metavar="DAYS", help="another training window than the champion's")
        parser.add_argument(
            "--param", type=_parameter, action="append", default=[], metavar="NAME=VALUE",
            help="another booster parameter than the champion's, such as num_boost_round=200; may be repeated",
        )  # fmt: skip
        parser.add_argument(
            "--segment", action="append", default=[], metavar="KEY",
            help="only this segment, such as department:Electronics; may be repeated",
        )  # fmt: skip
        parser.add_argument("--no-promote", action="store_true", help="never promote by itself")

    def run(self, customer: Customer, **options: Any) -> Report:
        with self.progress("Retraining") as watch:
            run = retrain_here(
                customer,
                trigger=options["trigger"],
                trigger_metadata={"experiment_id": options["experiment"]} if options["experiment"] else {},
                as_of=options["as_of"],
                reason=options["reason"],
                tier=options["tier"],
                window_days=options["window"],
                params=dict(options["param"]),
                segments=options["segment"],
                promote=not options["no_promote"],
                watch=watch,
            )
        report = report_of(ModelRetrainingLog.objects.filter(job_run=run).latest("pk"))
        self._warn_of_old_sales(report)
        return report

    def _warn_of_old_sales(self, report: Report) -> None:
        behind = (report["as_of"] - report["train_end"]).days - 1 if report["train_end"] else 0
        if behind > STALE_DAYS:
            self.note(
                f"The sales end on {report['train_end']}, {behind} days before {report['as_of']}. "
                "Load what came since, or name the day with --as-of."
            )

    def show(self, report: Report) -> None:
        self.stdout.write(f"{report['version']} ({report['version_status']}) from {report['trigger']} retrain")
        for other in report["versions"][1:]:
            self.stdout.write(f"{other['version']} ({other['status']}) for {in_words(other['segment'])}")
        self.stdout.write(f"Decision: {report['decision']}")
        for guard in report["guards"]:
            self.stdout.write(f"  {'pass' if guard['passed'] else 'FAIL'}  {guard['sentence']}")
        for name in ("mae", "seasonal_naive_mae", "wape", "rmse", "bias", "coverage"):
            value = report["metrics"].get(name)
            self.stdout.write(f"  {name.replace('_', ' ')}: {'unknown' if value is None else format(value, '.4f')}")
        self.stdout.write(", ".join(f"{stage['stage']} {stage['seconds']:.1f} s" for stage in report["stages"]))


def report_of(log: ModelRetrainingLog) -> Report:
    """The retrain as a program reads it; `version` and all numbers are of the first one that it made."""
    versions = list(log.versions.order_by("pk"))
    version = versions[0] if versions else None
    return {
        "retrain_id": log.job_run_id,
        "trigger": log.trigger_type,
        "as_of": log.as_of,
        "status": log.status,
        "version": version.version if version else None,
        "version_status": version.status if version else None,
        "versions": [{"version": one.version, "segment": one.segment, "status": one.status} for one in versions],
        "decision": log.decision,
        "guards": version.decision.get("guards", []) if version else [],
        "improvement_pct": _improvement(version),
        "metrics": version.metrics if version else {},
        "train_start": version.train_start if version else None,
        "train_end": version.train_end if version else None,
        "stages": log.stages,
        "error": log.error,
    }


def _improvement(version: ModelVersion | None) -> float | None:
    return version.decision.get("comparison", {}).get("improvement_pct") if version else None


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ArgumentTypeError(f"“{text}” is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
