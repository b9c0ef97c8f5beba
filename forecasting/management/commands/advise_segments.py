"""Says which departments deserve a model of their own, and why."""

from typing import Any

from forecasting.advice import LABELS, advise
from mlops.figures import UNKNOWN, figure, percent
from shelfops.management.base import Command as Base
from shelfops.management.base import Report
from shelfops.models import Customer


class Command(Base):
    help = "Per department: how it is forecast, what moves the model, how it sells, how much is known, and a judgement."

    def run(self, customer: Customer, **_options: Any) -> Report:
        return advise(customer)

    def show(self, report: Report) -> None:
        if report["note"]:
            self.stdout.write(report["note"])
        for one in report["departments"]:
            error, demand, data = (one["signals"][name] for name in ("error", "domain", "data"))
            self.stdout.write(f"{one['department']}: {LABELS[one['judgement']]}: {one['reason']}.")
            self.stdout.write(
                f"  MAE {figure(error['mae'])}, WAPE {percent(error['wape'])}; on promotion "
                f"{percent(demand['promo_share'])}, weekday explains {percent(demand['weekly_strength'])}; "
                f"{data['rows']:,} rows, {data['history_days']} days; "
                f"shadow days for {one['shadow_days']['target_pct']:g} %: {one['shadow_days']['needed'] or UNKNOWN}"
            )
