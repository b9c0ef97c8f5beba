"""Every registered table, by every role and by a stranger: what opens, what is refused, and whose names appear."""

import datetime as dt

import pytest
from django.contrib import admin
from django.urls import reverse

from alerts.alerting import raise_alert
from alerts.models import MLAlert, Notification, NotificationChannel
from forecasting.models import (
    CategoryDepartment,
    FeedDay,
    Forecast,
    ForecastRun,
    PlannedPrice,
    Product,
    Sale,
    Series,
    Store,
)
from mlops.models import (
    BacktestResult,
    DegradationCheck,
    DriftCheck,
    DriftIncident,
    ModelExperiment,
    ModelPolicy,
    ModelRetrainingLog,
    ModelReview,
    ModelVersion,
    RoutingRule,
    ShadowPrediction,
    ShadowTest,
    VersionEvent,
)
from shelfops.models import Customer, JobRun, Membership
from shelfops.scoped_admin import ScopedAdmin, ScopedAutocompleteFilter, ScopedDropdownFilter

DAY = dt.date(2026, 3, 2)
NOBODY, SCIENCE, MANAGERS = "", "alice bob root", "bob root"
# Table -> who adds, who changes, who deletes. Everybody of the customer looks; nobody else does.
EDITORS = {
    "forecasting.store": (SCIENCE, SCIENCE, NOBODY),
    "forecasting.product": (SCIENCE, SCIENCE, NOBODY),
    "forecasting.categorydepartment": (SCIENCE, SCIENCE, SCIENCE),
    "forecasting.sale": (NOBODY, NOBODY, NOBODY),
    "forecasting.series": (NOBODY, NOBODY, NOBODY),
    "forecasting.feedday": (SCIENCE, SCIENCE, NOBODY),
    "forecasting.plannedprice": (NOBODY, NOBODY, NOBODY),
    "forecasting.forecast": (NOBODY, NOBODY, NOBODY),
    "forecasting.forecastrun": (NOBODY, NOBODY, NOBODY),
    "mlops.routingrule": (NOBODY, NOBODY, NOBODY),
    "alerts.mlalert": (NOBODY, NOBODY, NOBODY),
    "alerts.notificationchannel": (MANAGERS, MANAGERS, MANAGERS),
    "alerts.notification": (NOBODY, NOBODY, NOBODY),
    "mlops.modelpolicy": (NOBODY, MANAGERS, NOBODY),
    "mlops.modelversion": (NOBODY, NOBODY, NOBODY),
    "mlops.modelretraininglog": (NOBODY, NOBODY, NOBODY),
    "mlops.modelreview": (NOBODY, NOBODY, NOBODY),
    "mlops.versionevent": (NOBODY, NOBODY, NOBODY),
    "mlops.backtestresult": (NOBODY, NOBODY, NOBODY),
    "mlops.degradationcheck": (NOBODY, NOBODY, NOBODY),
    "mlops.driftcheck": (NOBODY, NOBODY, NOBODY),
    "mlops.driftincident": (NOBODY, NOBODY, NOBODY),
    "mlops.modelexperiment": (NOBODY, NOBODY, NOBODY),
    "mlops.shadowtest": (NOBODY, NOBODY, NOBODY),
    "mlops.shadowprediction": (NOBODY, NOBODY, NOBODY),
    "shelfops.jobrun": (NOBODY, NOBODY, NOBODY),
    "shelfops.customer": ("root", MANAGERS, NOBODY),
    "shelfops.membership": (NOBODY, NOBODY, NOBODY),
}
WITH_HISTORY = [
    "forecasting.store",
    "forecasting.product",
    "forecasting.categorydepartment",
    "mlops.modelpolicy",
    "alerts.notificationchannel",
]
PEOPLE = ["alice", "bob", "charlie", "mallory", "root"]
# Three of them ask for the open alerts that stand on every page.
QUERIES = {
    "forecasting.store": 12,
    "forecasting.product": 12,
    "forecasting.categorydepartment": 12,
    "forecasting.sale": 14,
    "forecasting.series": 15,
    "forecasting.feedday": 14,
    "forecasting.plannedprice": 14,
    "forecasting.forecast": 18,
    "forecasting.forecastrun": 13,
    "mlops.routingrule": 12,
    "alerts.mlalert": 13,
    "alerts.notificationchannel": 11,
    "alerts.notification": 11,
    "mlops.modelpolicy": 11,
    "mlops.modelversion": 15,
    "mlops.modelretraininglog": 14,
    "mlops.modelreview": 13,
    "mlops.versionevent": 13,
    "mlops.backtestresult": 11,
    "mlops.degradationcheck": 13,
    "mlops.driftcheck": 17,
    "mlops.driftincident": 14,
    "mlops.modelexperiment": 15,
    "mlops.shadowtest": 13,
    "mlops.shadowprediction": 12,
    "shelfops.jobrun": 14,
    "shelfops.customer": 11,
    "shelfops.membership": 11,
}


def _forecast(version: ModelVersion, *, store: Store, product: Product) -> Forecast:
    """A row of a run of its own."""
    run = ForecastRun.objects.create(customer=version.customer, as_of=DAY, origin=DAY, status="superseded")
    rule = RoutingRule.objects.create(
        customer=version.customer, segment=f"department:{version}", version=version, valid_from=DAY
    )
    return Forecast.objects.create(
        run=run, store=store, product=product, version=version, rule=rule, origin=DAY, date=DAY, lead=1, prediction=2
    )


def _stock(customer: Customer, word: str) -> dict[str, object]:
    """One row of every table, each with a name that tells its owner."""
    store = Store.objects.create(customer=customer, code=f"{word}-s1", name=f"{word} High Street", cluster=f"{word}-c")
    product = Product.objects.create(
        customer=customer, code=f"{word}-p1", name=f"{word} Milk", department=f"{word}-dairy", category=f"{word}-cat"
    )
    key = {"store": store, "product": product}
    version = _version(customer, word)
    forecast = _forecast(version, **key)
    alert, channel = _alert(customer, word), _channel(customer, word)
    return {
        "forecasting.forecast": forecast,
        "forecasting.forecastrun": forecast.run,
        "mlops.routingrule": forecast.rule,
        "alerts.mlalert": alert,
        "alerts.notificationchannel": channel,
        "alerts.notification": _notification(alert, channel),
        "mlops.modelversion": version,
        "mlops.modelretraininglog": _retraining(customer, word),
        "mlops.versionevent": VersionEvent.objects.create(
            version=version, to_status="candidate", reason=f"{word} was trained", as_of=DAY
        ),
        "mlops.backtestresult": BacktestResult.objects.create(**_backtest(version), scope_value=f"{word}-dairy"),
        "mlops.modelreview": _review(version),
        "mlops.driftincident": (incident := _incident(version)),
        "mlops.driftcheck": _drift_check(version, incident),
        "mlops.modelexperiment": _experiment(customer, word),
        "mlops.shadowtest": _shadow_test(version),
        "mlops.shadowprediction": _shadow_row(version, word),
        "mlops.degradationcheck": DegradationCheck.objects.create(
            customer=customer, version=version, as_of=DAY, degraded=True, increase_pct=12, recent_wape=0.5
        ),
        "forecasting.store": store,
        "forecasting.product": product,
        "forecasting.categorydepartment": CategoryDepartment.objects.create(
            customer=customer, category=f"{word}-cat", department=f"{word}-dairy"
        ),
        "forecasting.sale": Sale.objects.create(**key, date=DAY, quantity=2),
        "forecasting.series": Series.objects.create(**key, first_sold=DAY),
        "forecasting.feedday": FeedDay.objects.create(store=store, date=DAY, status="complete", rows=1),
        "forecasting.plannedprice": PlannedPrice.objects.create(**key, date=DAY, known_at=DAY, promo=True),
        "mlops.modelpolicy": ModelPolicy.of(customer),
        "shelfops.jobrun": JobRun.objects.create(customer=customer, job="retrain", slot=f"{word}-slot"),
        "shelfops.customer": customer,
        "shelfops.membership": Membership.objects.filter(customer=customer).first(),
    }


def _version(customer: Customer, name: str) -> ModelVersion:
    days = dict.fromkeys(["as_of", "evaluation_start", "evaluation_end", "train_start", "train_end"], DAY)
    counts = {"number": 1, "rows": 1, "series": 1}
    return ModelVersion.objects.create(
        customer=customer, version=name, segment=f"department:{name}-s", tier="t", recipe={}, **days, **counts
    )


def _retraining(customer: Customer, name: str) -> ModelRetrainingLog:
    return ModelRetrainingLog.objects.create(customer=customer, trigger_type="scheduled", as_of=DAY, decision=name)


def _alert(customer: Customer, name: str) -> MLAlert:
    texts = {
        "title": f"{name} awaits a decision",
        "message": f"{name}: 6.1 % better",
        "action_url": "/models/review/v2",
    }
    return raise_alert(customer, MLAlert.Type.PROMOTION_PENDING, **texts, metadata={"version": name}, dedupe=name)


def _channel(customer: Customer, name: str) -> NotificationChannel:
    url = f"jsons://hooks.{name}.example/token"
    return NotificationChannel.objects.create(customer=customer, name=f"{name} on-call", url=url)


def _notification(alert: MLAlert, channel: NotificationChannel) -> Notification:
    return Notification.objects.create(alert=alert, channel=channel, channel_name=channel.name, kind="raised")


def _review(version: ModelVersion) -> ModelReview:
    by = Membership.objects.filter(customer=version.customer).first().user
    return ModelReview.objects.create(
        customer=version.customer, version=version, action="reject", by=by, notes=f"{version} is no good", as_of=DAY
    )


def _incident(version: ModelVersion) -> DriftIncident:
    numbers = {"baseline_mae": 12.8, "recent_mae": 18.5, "drift_pct": 44.5}
    return DriftIncident.objects.create(
        customer=version.customer, segment=version.segment, champion=version, opened_on=DAY, last_seen_on=DAY, **numbers
    )


def _drift_check(version: ModelVersion, incident: DriftIncident, as_of: dt.date = DAY) -> DriftCheck:
    return DriftCheck.objects.create(
        customer=version.customer,
        segment=version.segment,
        champion=version,
        as_of=as_of,
        verdict="drift",
        reason=f"{version} is worse",
        incident=incident,
    )


def _experiment(customer: Customer, name: str) -> ModelExperiment:
    by = Membership.objects.filter(customer=customer).first().user
    return ModelExperiment.objects.create(
        customer=customer, experiment_name=f"{name} tiers", hypothesis="They differ.", experiment_type="other",
        proposed_by=by,
    )  # fmt: skip


def _shadow_test(version: ModelVersion) -> ShadowTest:
    return ShadowTest.objects.create(customer=version.customer, version=version, started_on=DAY, target_days=14)


def _shadow_row(version: ModelVersion, name: str) -> ShadowPrediction:
    key = {"store_id": f"{name}-s1", "product_id": f"{name}-p1", "forecast_date": DAY}
    said = {"champion": version, "champion_prediction": 1.5, "challenger_prediction": 2.5}
    return ShadowPrediction.objects.create(customer=version.customer, version=version, **key, **said)


def _backtest(version: ModelVersion) -> dict[str, object]:
    days = dict.fromkeys(["origin", "first_day", "day"], DAY)
    return {
        "customer": version.customer,
        "version": version,
        "kind": "daily",
        "lead_band": "1",
        "n": 1,
        "units": 1,
        **days,
    }


@pytest.fixture
def cast(alice, bob, charlie, mallory, root):
    return {"alice": alice, "bob": bob, "charlie": charlie, "mallory": mallory, "root": root}


@pytest.fixture
def rows(cast, acme):
    return _stock(acme, "acme")


@pytest.fixture
def strange_rows(cast, globex):
    return _stock(globex, "globex")


def _url(table: str, page: str, *args: object) -> str:
    return reverse(f"admin:{table.replace('.', '_')}_{page}", args=args)


def _scoped() -> list[str]:
    return [model._meta.label_lower for model, owner in admin.site._registry.items() if isinstance(owner, ScopedAdmin)]


def test_the_table_below_names_every_scoped_admin():
    assert sorted(_scoped()) == sorted(EDITORS) == sorted(QUERIES)


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("table", EDITORS)
def test_who_opens_what(table, name, rows, cast, client_of):
    client, key = client_of(cast[name]), rows[table].pk
    assert client.get(_url(table, "changelist")).status_code == 200
    assert client.get(_url(table, "change", key)).status_code == (404 if name == "mallory" else 200)
    assert client.get(_url(table, "history", key)).status_code == (404 if name == "mallory" else 200)
    assert client.get(_url(table, "export")).status_code == 200


@pytest.mark.parametrize("name", ["alice", "bob", "charlie", "root"])
@pytest.mark.parametrize("table", EDITORS)
def test_who_edits_what(table, name, rows, cast, client_of):
    client, key = client_of(cast[name]), rows[table].pk
    adds, changes, deletes = (name in who.split() for who in EDITORS[table])
    assert (client.get(_url(table, "add")).status_code == 200) is adds
    assert (client.post(_url(table, "add"), {}).status_code == 200) is adds
    assert (client.post(_url(table, "change", key), {}).status_code in (200, 302)) is changes
    assert (client.get(_url(table, "delete", key)).status_code == 200) is deletes
    assert (client.post(_url(table, "delete", key), {"post": "yes"}).status_code == 302) is deletes


@pytest.mark.parametrize("table", EDITORS)
def test_a_stranger_edits_nothing(table, rows, mallory, client_of):
    client, key = client_of(mallory), rows[table].pk
    assert client.post(_url(table, "change", key), {}).status_code in (403, 404)
    assert client.post(_url(table, "delete", key), {"post": "yes"}).status_code in (403, 404)
    assert type(rows[table]).objects.filter(pk=key).exists()


@pytest.mark.parametrize("table", EDITORS)
def test_no_page_shows_another_customers_names(table, rows, strange_rows, alice, client_of):
    client, key = client_of(alice), rows[table].pk
    pages = [_url(table, "changelist"), _url(table, "change", key), _url(table, "history", key)]
    pages += [_url(table, "export"), _url(table, "add"), _url(table, "changelist") + "?q=glob"]
    for page in pages:
        assert "globex" not in client.get(page).content.decode(), page


@pytest.mark.parametrize("table", EDITORS)
@pytest.mark.parametrize("file_format", ["0", "1", "2"])
def test_an_export_holds_only_ones_own(table, file_format, rows, strange_rows, alice, client_of):
    answer = client_of(alice).post(_url(table, "export"), {"format": file_format, "resource": "0"})
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith("attachment")
    assert b"globex" not in answer.content


@pytest.mark.parametrize("table", ["forecasting.sale", "forecasting.series", "forecasting.feedday"])
def test_a_filter_names_no_row_of_others(table, rows, strange_rows, alice, client_of):
    strange = strange_rows["forecasting.store"].pk
    page = client_of(alice).get(_url(table, "changelist"), {"store__id__exact": strange}).content.decode()
    assert "globex" not in page


@pytest.mark.parametrize("field", ["sale.store", "sale.product", "feedday.store"])
def test_autocomplete_offers_only_ones_own(field, rows, strange_rows, alice, client_of):
    model, name = field.split(".")
    query = {"app_label": "forecasting", "model_name": model, "field_name": name, "term": ""}
    texts = [row["text"] for row in client_of(alice).get(reverse("admin:autocomplete"), query).json()["results"]]
    assert len(texts) == 1
    assert texts[0].startswith("acme")


def test_every_filter_by_a_relation_is_scoped(rf, root):
    request = rf.get("/")
    request.user = root
    for table in _scoped():
        owner = next(o for m, o in admin.site._registry.items() if m._meta.label_lower == table)
        for entry in owner.get_list_filter(request):
            if isinstance(entry, type):  # a question of its own, about no relation
                continue
            name, chosen = (entry, None) if isinstance(entry, str) else entry
            assert not owner._is_relation(name) or issubclass(
                chosen, ScopedDropdownFilter | ScopedAutocompleteFilter
            ), (table, name)


def test_a_forged_post_cannot_use_another_customers_row(rows, strange_rows, alice, client_of):
    strange = strange_rows["forecasting.store"]
    data = {"store": strange.pk, "date": "2026-03-03", "status": "closed", "note": "mine now"}
    page = client_of(alice).post(_url("forecasting.feedday", "add"), data)
    assert page.status_code == 200
    assert "Select a valid choice" in page.content.decode()
    assert not FeedDay.objects.filter(date=dt.date(2026, 3, 3)).exists()


def test_a_row_stays_with_its_customer(rows, alice, acme, globex, client_of):
    Membership.objects.create(user=alice, customer=globex, role="data_scientist")
    store = rows["forecasting.store"]
    data = {"customer": globex.pk, "code": "new-code", "name": "", "cluster": ""}
    client_of(alice).post(_url("forecasting.store", "change", store.pk), data)
    store.refresh_from_db()
    assert (store.customer, store.code) == (acme, "new-code")


@pytest.mark.parametrize("table", ["forecasting.store", "forecasting.categorydepartment", "mlops.modelpolicy"])
def test_a_post_without_the_token_is_refused(table, rows, bob, client_of):
    client = client_of(bob, enforce_csrf_checks=True)
    assert client.post(_url(table, "change", rows[table].pk), {}).status_code == 403
    assert client.post(_url(table, "export"), {"format": "0"}).status_code == 403


@pytest.mark.parametrize("table", WITH_HISTORY)
def test_only_editors_restore_an_old_version(table, rows, cast, client_of):
    row = rows[table]
    version = row.history.first().history_id
    for name, expected in {"charlie": 403, "mallory": 404, "bob": 200}.items():
        page = client_of(cast[name]).get(_url(table, "simple_history", row.pk, version))
        assert page.status_code == expected, name


def test_history_says_who_changed_what(rows, bob, client_of):
    policy = rows["mlops.modelpolicy"]
    policy.drift_pct = 25
    policy._history_user = bob
    policy.save()
    page = client_of(bob).get(_url("mlops.modelpolicy", "history", policy.pk)).content.decode()
    assert "bob@acme.example" in page
    assert "25" in page


@pytest.mark.parametrize("table", EDITORS)
def test_a_list_takes_the_same_queries_however_long(table, rows, alice, client_of, django_assert_num_queries):
    client = client_of(alice)
    client.get(_url(table, "changelist"))
    with django_assert_num_queries(QUERIES[table]):
        client.get(_url(table, "changelist"))
    _more(rows)
    with django_assert_num_queries(QUERIES[table]):
        client.get(_url(table, "changelist"))


def _more(rows: dict[str, object]) -> None:
    acme = rows["shelfops.customer"]
    for number in range(5):
        store = Store.objects.create(customer=acme, code=f"more-s{number}")
        product = Product.objects.create(customer=acme, code=f"more-p{number}")
        Sale.objects.create(store=store, product=product, date=DAY, quantity=1)
        Series.objects.create(store=store, product=product, first_sold=DAY)
        FeedDay.objects.create(store=store, date=DAY, status="complete")
        PlannedPrice.objects.create(store=store, product=product, date=DAY, known_at=DAY)
        CategoryDepartment.objects.create(customer=acme, category=f"more-{number}", department="more")
        version = _version(acme, f"more-{number}")
        _forecast(version, store=store, product=product)
        VersionEvent.objects.create(version=version, to_status="candidate", reason="x", as_of=DAY)
        BacktestResult.objects.create(**_backtest(version))
        DegradationCheck.objects.create(customer=acme, version=version, as_of=DAY)
        _drift_check(version, _incident(version))
        _shadow_test(version)
        _experiment(acme, f"more-{number}")
        _shadow_row(version, f"more-{number}")
        _notification(_alert(acme, f"more-{number}"), _channel(acme, f"more-{number}"))
        _retraining(acme, f"more-{number}")
