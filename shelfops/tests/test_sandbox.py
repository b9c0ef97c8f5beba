"""A replay on a throw-away copy of the customer."""

import datetime as dt
import json

import pytest
from django.core.management import call_command

from forecasting.loading import load_sales
from forecasting.models import Forecast, ForecastRun
from forecasting.tests.synthetic import LAST, shop
from mlops.models import ModelVersion
from shelfops import customers, sandbox
from shelfops.clock import set_clock
from shelfops.models import Customer, JobRun

DAY = dt.timedelta(days=1)


@pytest.mark.django_db(transaction=True)
def test_a_replay_on_a_copy_leaves_the_customer_as_it_was(tmp_path, capsys):
    acme = customers.create(Customer(slug="acme", name="Acme Stores", timezone="UTC"))
    shop().to_parquet(tmp_path / "sales.parquet", index=False)
    load_sales(acme, tmp_path / "sales.parquet")
    set_clock(acme, LAST - 3 * DAY)

    call_command("replay", "--sandbox", "--from", str(LAST - DAY), "--to", str(LAST), "--json")

    report = json.loads(capsys.readouterr().out)
    assert [one["as_of"] for one in report["days"]] == [str(LAST - DAY), str(LAST)]
    assert report["days"][-1]["status"] == "completed"
    assert report["decisions"][0]["version"] == "v1"
    assert report["clock"] == str(LAST - 3 * DAY)
    for table in (ModelVersion, ForecastRun, Forecast, JobRun):
        assert not table.objects.exists()
    assert Customer.objects.get(pk=acme.pk).today() == LAST - 3 * DAY


def test_leftovers_of_killed_sandboxes_are_removed_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "shelfops-sandbox-old").mkdir()
    monkeypatch.setattr(sandbox.time, "time", lambda: (tmp_path / "shelfops-sandbox-old").stat().st_mtime + 90_000)

    assert sandbox.remove_leftovers() == 1
    assert not list(tmp_path.iterdir())
