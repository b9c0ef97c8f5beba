"""The page that answers who serves what, on any day, and which version served one product in one store."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from forecasting.serving import Server, approver_of, who_serves
from mlops import addresses, routing
from mlops.figures import Row, Table
from mlops.models import RoutingRule
from shelfops import chosen
from shelfops.models import Customer
from shelfops.own_pages import own_scripts_only
from shelfops.refusals import Refusal

STAYS = "A forecast that was out when its day came stays: what is decided on that day serves from the next one on."
EMPTY = "Nobody serves on this day: the first model that is promoted begins."


class AskForm(forms.Form):
    """The day, and the product in a store where one asks of it."""

    at = forms.DateField(label="Day", widget=forms.DateInput(attrs={"type": "date"}))
    store = forms.CharField(label="Store id", max_length=64, required=False)
    product = forms.CharField(label="Product id", max_length=64, required=False)

    def clean(self) -> dict[str, Any]:
        told = super().clean() or self.cleaned_data
        if bool(told.get("store")) != bool(told.get("product")):
            raise forms.ValidationError("Name the store and the product together, or neither.")
        return told


@own_scripts_only
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Of the customer chosen; a customer of others is not found."""
    customer = chosen.named_or_chosen(request)
    if customer is None:
        raise Http404("There is no such customer.")
    asked = request.GET.copy()
    asked.setdefault("at", customer.today().isoformat())
    form = AskForm(asked)
    context = {"customer": customer, "customers": chosen.customers(request), "form": form}
    if form.is_valid():
        context |= _answer(customer, form.cleaned_data)
    return render(request, "routing.html", context, status=200 if form.is_valid() else 400)


view = admin.site.admin_view(show)


def _answer(customer: Customer, asked: dict[str, Any]) -> dict[str, Any]:
    rules = routing.rules_on(customer, asked["at"])
    shown: dict[str, Any] = {"at": asked["at"], "rules": _rules(rules), "empty": EMPTY}
    if asked["store"]:
        try:
            shown["server"] = _in_words(who_serves(customer, asked["store"], asked["product"], asked["at"]))
        except Refusal as refusal:
            shown["refusal"] = str(refusal)
    return shown


def _rules(rules: list[RoutingRule]) -> Table:
    order = {kind: at for at, kind in enumerate([*routing.Kind, None])}
    rows: list[Row] = [
        [
            routing.in_words(rule.segment),
            _link(rule),
            f"{rule.valid_from}" + (f" to before {rule.valid_to}" if rule.valid_to else " on"),
            approver_of(rule),
            rule.reason,
        ]
        for rule in sorted(rules, key=lambda rule: (order[routing.parts(rule.segment)[0]], rule.segment))
    ]
    headers = ["What", "Version", "From", "Decided by", "Why"]
    return Table("Who serves what, the first that fits", headers, rows)


def _link(rule: RoutingRule) -> SafeString:
    return format_html('<a href="{}">{}</a>', addresses.life_url(rule.version, rule.customer), rule.version)


def _in_words(server: Server) -> dict[str, Any]:
    verb = "served" if server.served else "serves by the rules of that day"
    forecast = server.forecast
    said = f"{server.version} {verb} {server.product_id} in {server.store_id} on {server.at}."
    facts = [
        ("Because", f"it serves {routing.in_words(server.segment)} since {server.since}"),
        ("Decided by", server.approved_by),
        ("Why", server.why),
    ]
    if forecast:
        interval = "" if forecast.lower is None else f" ({forecast.lower:.1f} to {forecast.upper:.1f})"
        facts.append(("It expected", f"{forecast.prediction:.1f} units{interval}"))
    return {"said": said, "facts": facts, "note": STAYS if server.served else ""}
