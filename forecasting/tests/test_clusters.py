"""Clusters of stores: what tells stores apart, the proposal that writes nothing, and its acceptance."""

import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from forecasting.catalogue import set_clusters
from forecasting.clusters import (
    TELLING_SILHOUETTE,
    BadNames,
    NothingToCluster,
    ProposalChanged,
    accept,
    describe,
    divide,
    propose,
    standardised,
    store_features,
)
from forecasting.models import Store
from forecasting.panel import from_transactions
from forecasting.tests.nights import load
from forecasting.tests.synthetic import LAST, shop
from mlops.tests.ledger import a_version
from shelfops.tenancy import NotAllowed
from shelfops.tests.decisions import what_waits

PAGE = "/segments/clusters"
LARGE, SMALL = ("S0", "S2", "S4"), ("S1", "S3", "S5")


def chain():
    """Six stores: the even ones sell ten times as much, and mostly Electronics."""
    rows = shop(stores=6, products=4, first=LAST - pd.Timedelta(days=60))
    is_large = rows["store_id"].isin(LARGE)
    is_electronic = rows["department"] == "Electronics"
    factor = np.where(is_large, np.where(is_electronic, 20, 2), np.where(is_electronic, 1, 2))
    return rows.assign(quantity=rows["quantity"] * factor)


@pytest.fixture
def stores(acme, tmp_path):
    acme.clock = LAST + pd.Timedelta(days=1)
    acme.save()
    load(acme, tmp_path, chain())
    return acme


def clusters_of(customer):
    return dict(Store.objects.filter(customer=customer).values_list("code", "cluster"))


def form(proposal, *names):
    return {"k": proposal.k, "digest": proposal.digest, "name": list(names)}


# --- The features, by hand


def test_features_are_the_stores_own_demand():
    days = pd.date_range("2026-01-05", periods=14)  # two weeks from a Monday
    rows = pd.DataFrame(
        [
            (day, store, product, units, promo)
            for day in days
            for store, product, units, promo in [
                ("A", "p", 8 if day.dayofweek == 5 else 2, 1),
                ("A", "q", 2, 0),
                ("B", "p", 1, 0),
            ]
        ],
        columns=["date", "store_id", "product_id", "quantity", "promo"],
    ).assign(department=lambda table: np.where(table["product_id"] == "p", "Dairy", "Toys"))
    found = store_features(from_transactions(rows))
    a = found.loc["A"]
    assert a["level", ""] == pytest.approx(np.log((6 * 4 + 10) / 7))
    assert a["promotion", ""] == 0.5
    assert a["weekday", "Saturday"] == pytest.approx(10 / 34)
    assert a["department", "Toys"] == pytest.approx(14 / 34)
    assert (found.loc["B"]["volatility", ""], found.loc["B"]["department", "Toys"]) == (0, 0)


def test_what_is_the_same_everywhere_tells_nothing():
    table = pd.DataFrame(
        {("level", ""): [1.0, 3.0], ("promotion", ""): [np.nan, np.nan], ("weekday", "Monday"): [1, 1]}
    )
    assert standardised(table).to_numpy().tolist() == [[-1, 0, 0], [1, 0, 0]]


# --- The division


def test_stores_that_sell_alike_come_together():
    features = store_features(from_transactions(chain()))
    k, silhouettes, labels = divide(features, None)
    assert k == 2
    assert silhouettes[2] == max(silhouettes.values()) > TELLING_SILHOUETTE
    assert set(silhouettes) == {2, 3, 4, 5}
    found = describe(features, labels)
    assert {cluster.stores for cluster in found} == {LARGE, SMALL}
    by_stores = {cluster.stores: cluster for cluster in found}
    assert "sells more a day" in {trait.words for trait in by_stores[LARGE].traits}
    assert "sells less Electronics, by its share" in {trait.words for trait in by_stores[SMALL].traits}
    assert len({cluster.name for cluster in found}) == 2


def test_the_same_sales_propose_the_same():
    features = store_features(from_transactions(chain()))
    assert [divide(features, 3)[2].tolist() for _ in range(2)] == [divide(features, 3)[2].tolist()] * 2


@pytest.mark.parametrize(
    ("stores", "k", "why"), [(2, None, "need at least 3"), (3, 3, "3 stores make 2 to 2"), (5, 9, "make 2 to 4")]
)
def test_too_few_stores_are_told(stores, k, why):
    table = pd.DataFrame({("level", ""): np.arange(stores, dtype=float)})
    with pytest.raises(NothingToCluster, match=why):
        divide(table, k)


def test_stores_that_do_not_differ_are_told():
    with pytest.raises(NothingToCluster, match="nothing sets clusters apart"):
        divide(pd.DataFrame({("level", ""): [2.0] * 5}), None)


# --- Proposing writes nothing, accepting writes once


@pytest.mark.django_db
def test_proposing_writes_nothing(stores, alice, client_of):
    Store.objects.create(customer=stores, code="new")
    before = Store.history.count()
    proposal = propose(stores)
    call_command("propose_clusters", "--k", "3", stdout=StringIO())
    client_of(alice).get(PAGE)
    assert proposal.left_out == ("new",)
    assert set(clusters_of(stores).values()) == {""}
    assert Store.history.count() == before


@pytest.mark.django_db
def test_accepting_writes_the_clusters_with_who_and_when(stores, alice):
    proposal = propose(stores)
    assert accept(stores, names=["Urban", "Rural"], k=2, digest=proposal.digest, by=alice) == 6
    first, second = proposal.clusters
    wanted = dict.fromkeys(first.stores, "Urban") | dict.fromkeys(second.stores, "Rural")
    assert clusters_of(stores) == wanted
    kept = Store.objects.get(code="S0").history.first()
    assert (kept.history_user, kept.cluster) == (alice, wanted["S0"])
    assert kept.history_change_reason == "accepted k-means with 2 clusters"
    assert accept(stores, names=["Urban", "Rural"], k=2, digest=proposal.digest, by=alice) == 0  # nothing to change


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["Urban"], "Give each cluster a name"),
        (["Urban", " "], "Give each cluster a name"),
        (["Urban", "urban"], "have the same name"),
        (["Urban", "x" * 65], "may have 64 letters"),
    ],
)
def test_names_have_to_be_names(stores, alice, names, why):
    with pytest.raises(BadNames, match=why):
        accept(stores, names=names, k=2, digest=propose(stores).digest, by=alice)
    assert set(clusters_of(stores).values()) == {""}


@pytest.mark.django_db
def test_a_proposal_that_was_overtaken_is_not_accepted(stores, alice):
    with pytest.raises(ProposalChanged, match="they propose other clusters"):
        accept(stores, names=["Urban", "Rural"], k=2, digest="another", by=alice)


@pytest.mark.django_db
def test_who_may_not_edit_stores_accepts_nothing(stores, charlie, mallory):
    for person in (charlie, mallory):
        with pytest.raises(NotAllowed):
            accept(stores, names=["Urban", "Rural"], k=2, digest=propose(stores).digest, by=person)


@pytest.mark.django_db
def test_another_customers_store_of_the_same_key_is_left_alone(stores, globex, alice):
    Store.objects.create(customer=globex, code="S0")
    assert set_clusters(stores, {"S0": "Urban"}, by=alice, reason="by hand") == 1
    assert clusters_of(globex) == {"S0": ""}


# --- The command and the page


@pytest.mark.django_db
def test_the_command_prints_one_object_or_lines(stores, acme):
    out = StringIO()
    call_command("propose_clusters", "--json", stdout=out)
    report = json.loads(out.getvalue())
    assert (report["k"], {tuple(one["stores"]) for one in report["clusters"]}) == (2, {LARGE, SMALL})
    out = StringIO()
    call_command("propose_clusters", "--k", "3", stdout=out)
    assert "3 clusters, silhouette" in out.getvalue()
    assert "Nothing was written." in out.getvalue()


@pytest.mark.django_db
def test_the_command_without_sales_says_what_to_do(acme):
    with pytest.raises(CommandError, match="Load some: manage"):
        call_command("propose_clusters")


@pytest.mark.django_db
def test_the_page_shows_what_sets_them_apart_and_accepts_with_other_names(stores, alice, client_of):
    page = client_of(alice).get(PAGE).content.decode()
    for text in [
        "2 clusters, by the sales from",
        "Sells more a day",
        "Sells less Electronics, by its share",
        "without a cluster",
    ]:
        assert text in page
    assert "<script" not in page[page.index("<main") :]
    assert "None" not in page
    answer = client_of(alice).post(PAGE, form(propose(stores), "Urban", "Rural"), follow=True)
    assert "Accepted: 6 stores changed cluster." in answer.content.decode()
    assert set(clusters_of(stores).values()) == {"Urban", "Rural"}
    assert "so far Urban" in client_of(alice).get(PAGE).content.decode()


@pytest.mark.django_db
def test_a_bad_name_comes_back_with_what_was_typed(stores, alice, client_of):
    answer = client_of(alice).post(PAGE, form(propose(stores), "Urban", ""))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Give each cluster a name" in page
    assert 'value="Urban"' in page


@pytest.mark.django_db
def test_a_stale_page_is_told_and_changes_nothing(stores, alice, client_of):
    answer = client_of(alice).post(PAGE, {**form(propose(stores), "Urban", "Rural"), "digest": "old"})
    assert answer.status_code == 409
    assert set(clusters_of(stores).values()) == {""}


@pytest.mark.django_db
def test_who_may_not_reads_it_without_the_button(stores, charlie, mallory, client_of):
    page = client_of(charlie).get(PAGE).content.decode()
    assert "Accept these clusters" not in page
    assert "You cannot accept them: your role may not load sales and plans, or edit stores" in page
    assert client_of(charlie).post(PAGE, form(propose(stores), "a", "b")).status_code == 403
    assert client_of(mallory).get(f"{PAGE}?customer=acme").status_code == 404
    assert client_of(mallory).post(f"{PAGE}?customer=acme", form(propose(stores), "a", "b")).status_code == 404
    assert set(clusters_of(stores).values()) == {""}


@pytest.mark.django_db
def test_models_that_serve_a_cluster_are_named_before(stores, alice, client_of):
    a_version(stores, "champion", segment="store_cluster:Urban")
    page = " ".join(client_of(alice).get(PAGE).content.decode().split())
    assert "v1_urban serves a cluster as it is now: stores that leave it are forecast by another model" in page


@pytest.mark.django_db
def test_a_customer_without_sales_reads_what_to_do(acme, alice, client_of):
    page = client_of(alice).get(PAGE).content.decode()
    assert "There is nothing to propose: Acme Stores has no sales" in page
    assert 'method="post"' not in page


@pytest.mark.django_db
def test_the_list_of_stores_leads_there(alice, client_of):
    page = client_of(alice).get(reverse("admin:forecasting_store_changelist")).content.decode()
    link = reverse("admin:forecasting_store_clusters")
    assert link in page
    assert client_of(alice).get(link)["Location"] == PAGE


@pytest.mark.django_db
def test_where_nothing_was_sold_the_page_says_so(acme, alice, client_of):
    what_waits(acme)
    assert "There is nothing to propose: Nothing was sold from" in client_of(alice).get(PAGE).content.decode()
