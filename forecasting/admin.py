"""What the retailer brings, in the admin: catalogue, sales, feed days, plans."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import BigIntegerField, F, Func, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import action, display
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from forecasting import feed
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
from forecasting.retrain_admin import RetrainingAdmin
from forecasting.serving import reason_of
from mlops.models import RoutingRule
from shelfops import tenancy
from shelfops.models import User
from shelfops.scoped_admin import ScopedAdmin, ScopedAutocompleteFilter, ScopedDropdownFilter, ScopedHistoryAdmin
from shelfops.tenancy import Action

__all__ = ["RetrainingAdmin"]  # registered where it stands

SERIES_KEY = {"store_id": "store__code", "product_id": "product__code"}


def of_stores(rows: QuerySet[Any], stores: QuerySet[Store]) -> QuerySet[Any]:
    """Those of the stores, in whichever order they are listed.

    By no index and no join: either would make SQLite read and sort all rows of the stores for the fifty that are shown.
    """
    by_no_index = Func(F("store_id"), template="+%(expressions)s", output_field=BigIntegerField())
    return rows.alias(of=by_no_index).filter(of__in=list(stores.values_list("pk", flat=True)))


class CustomerOfStoreFilter(ScopedDropdownFilter):
    """A filter by the customer whose the stores are."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (chosen := self.used_parameters.get(self.lookup_kwarg)):
            return queryset
        return of_stores(queryset, Store.objects.filter(customer__in=chosen))


class StoreRowsAdmin(ScopedAdmin):
    """A long table by store, listed in the order of its index; a date hierarchy would read every row for its years."""

    customer_path = "store__customer"
    list_select_related: ClassVar[list[str]] = []
    named: ClassVar = ["store__customer"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = ModelAdmin.get_queryset(self, request).prefetch_related(*self.named)
        if request.user.is_superuser:
            return rows
        return of_stores(rows, tenancy.scope(Store.objects.all(), request.user))


class SeriesRowsAdmin(StoreRowsAdmin):
    """A long table by store and product, searched through those two short ones, never by scanning itself."""

    named: ClassVar = ["store__customer", "product"]
    search_fields: ClassVar = ["store__code", "product__code"]
    search_help_text = "Store ids and product ids, whole; several narrow each other down."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        stores = tenancy.scope(Store.objects.all(), request.user)
        products = tenancy.scope(Product.objects.all(), request.user)
        for word in search_term.split():
            of_word = Q(code__iexact=word)
            known = {
                "store__in": list(stores.filter(of_word).values_list("pk", flat=True)),
                "product__in": list(products.filter(of_word).values_list("pk", flat=True)),
            }
            queryset = queryset.filter(Q(**known, _connector=Q.OR))
        return queryset, False


# --- Catalogue


@admin.register(Store)
class StoreAdmin(ScopedHistoryAdmin):
    edit_action = Action.LOAD_DATA
    can_delete = False
    list_display: ClassVar = ["code", "name", "cluster", "customer"]
    list_filter: ClassVar = ["customer", "cluster"]
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["code", "name"]
    actions_list: ClassVar = ["clusters"]
    export_columns: ClassVar = {"store_id": "code", "name": "name", "cluster": "cluster"}

    @action(description="Propose clusters …", url_path="clusters")
    def clusters(self, _request: HttpRequest) -> HttpResponse:
        return redirect(reverse("store_clusters"))


@admin.register(Product)
class ProductAdmin(ScopedHistoryAdmin):
    edit_action = Action.LOAD_DATA
    can_delete = False
    list_display: ClassVar = ["code", "name", "department", "category", "customer"]
    list_filter: ClassVar = ["customer", "department"]
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["code", "name", "category"]
    export_columns: ClassVar = {
        "product_id": "code",
        "name": "name",
        "department": "department",
        "category": "category",
    }


@admin.register(CategoryDepartment)
class CategoryDepartmentAdmin(ScopedHistoryAdmin):
    edit_action = Action.LOAD_DATA
    list_display: ClassVar = ["category", "department", "customer"]
    list_filter: ClassVar = ["customer", "department"]
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["category", "department"]
    export_columns: ClassVar = {"category": "category", "department": "department"}


# --- Sales and plans: brought by loads, never edited here


@admin.register(Sale)
class SaleAdmin(SeriesRowsAdmin):
    list_display: ClassVar = ["date", "store", "product", "quantity", "unit_price", "promo"]
    list_filter: ClassVar = [
        ("store__customer", CustomerOfStoreFilter),
        ("date", RangeDateFilter),
        ("store", ScopedAutocompleteFilter),
        ("product", ScopedAutocompleteFilter),
        "promo",
    ]
    ordering: ClassVar = ["-date", "-store_id", "-product_id"]
    sortable_by = ()
    paginator = InfinitePaginator
    export_columns: ClassVar = {
        "date": "date",
        **SERIES_KEY,
        "quantity": "quantity",
        "unit_price": "unit_price",
        "promo": "promo",
    }


@admin.register(PlannedPrice)
class PlannedPriceAdmin(SeriesRowsAdmin):
    list_display: ClassVar = ["date", "store", "product", "unit_price", "promo", "known_at"]
    list_filter: ClassVar = [
        ("store__customer", CustomerOfStoreFilter),
        ("date", RangeDateFilter),
        ("store", ScopedAutocompleteFilter),
        ("product", ScopedAutocompleteFilter),
        "promo",
    ]
    ordering: ClassVar = ["-date", "-store_id", "-product_id", "-known_at"]
    sortable_by = ()
    paginator = InfinitePaginator
    export_columns: ClassVar = {
        "date": "date",
        **SERIES_KEY,
        "unit_price": "unit_price",
        "promo": "promo",
        "known_at": "known_at",
    }


@admin.register(Series)
class SeriesAdmin(SeriesRowsAdmin):
    list_display: ClassVar = ["store", "product", "first_sold"]
    list_filter: ClassVar = [
        ("store__customer", CustomerOfStoreFilter),
        ("first_sold", RangeDateFilter),
        ("store", ScopedAutocompleteFilter),
        ("product", ScopedAutocompleteFilter),
    ]
    ordering: ClassVar = ["store_id", "product_id"]
    sortable_by: ClassVar = ["first_sold"]
    export_columns: ClassVar = {**SERIES_KEY, "first_sold": "first_sold"}


# --- Forecasts: written by the nights


@admin.register(ForecastRun)
class ForecastRunAdmin(ScopedAdmin):
    list_display: ClassVar = ["as_of", "cause", "shown_status", "origin", "days", "rows", "published_at", "customer"]
    list_filter: ClassVar = ["customer", "status"]
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["cause", "notes"]
    date_hierarchy = "as_of"
    exclude: ClassVar = ["rules"]
    readonly_fields: ClassVar = ["shown_rules"]
    export_columns: ClassVar = {
        "as_of": "as_of",
        "origin": "origin",
        "cause": "cause",
        "status": "status",
        "days": "days",
        "rows": "rows",
        "notes": "notes",
        "published_at": "published_at",
    }

    @display(
        description="status",
        ordering="status",
        label={ForecastRun.Status.PUBLISHED: "success", ForecastRun.Status.WRITING: "info"},
    )
    def shown_status(self, run: ForecastRun) -> tuple[str, str]:
        return run.status, run.get_status_display()

    @display(description="routing")
    def shown_rules(self, run: ForecastRun) -> str:
        """The rules that held, in words."""
        rules = RoutingRule.objects.of(run.customer, run.model_name).filter(pk__in=run.rules)
        return ", ".join(str(rule) for rule in rules.select_related("version").order_by("segment"))


@admin.register(Forecast)
class ForecastAdmin(SeriesRowsAdmin):
    list_display: ClassVar = [
        "date",
        "store",
        "product",
        "lead",
        "prediction",
        "lower",
        "upper",
        "actual",
        "version",
        "why",
        "cause",
        "replayed",
    ]
    list_filter: ClassVar = [
        ("store__customer", CustomerOfStoreFilter),
        ("date", RangeDateFilter),
        ("store", ScopedAutocompleteFilter),
        ("product", ScopedAutocompleteFilter),
        ("version", ScopedAutocompleteFilter),
        "replayed",
    ]
    named: ClassVar = ["store__customer", "product", "version", "rule__version", "rule__by", "run"]
    readonly_fields: ClassVar = ["why", "cause"]
    ordering: ClassVar = ["-run_id", "-store_id", "-product_id", "-date"]
    sortable_by = ()
    paginator = InfinitePaginator
    export_columns: ClassVar = {
        "date": "date",
        **SERIES_KEY,
        "origin": "origin",
        "lead": "lead",
        "prediction": "prediction",
        "lower": "lower",
        "upper": "upper",
        "seasonal_naive": "seasonal_naive",
        "actual": "actual",
        "version": "version__version",
        "segment": "rule__segment",
        "why": "rule__reason",
        "cause": "run__cause",
        "replayed": "replayed",
    }

    @display(description="why")
    def why(self, forecast: Forecast) -> str:
        return reason_of(forecast.rule)

    @display(description="cause")
    def cause(self, forecast: Forecast) -> str:
        return forecast.run.cause


# --- Feed days: people may say that a store was closed, or that a day's sales are not to be used


class MarkForm(forms.Form):
    """Why the days are marked."""

    note = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
        help_text="Shown beside each of these days, such as: closed for stocktaking.",
    )


class FeedDayForm(forms.ModelForm):
    """One store-day, marked by a person."""

    status = forms.ChoiceField(
        choices=[(status.value, status.label) for status in feed.BY_HAND], widget=UnfoldAdminSelectWidget
    )
    note = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Why the day is marked.")


@admin.register(FeedDay)
class FeedDayAdmin(StoreRowsAdmin):
    named: ClassVar = ["store__customer", "marked_by"]
    edit_action = Action.LOAD_DATA
    can_delete = False
    form = FeedDayForm
    fields: ClassVar = ["store", "date", "status", "note"]
    autocomplete_fields: ClassVar = ["store"]
    list_display: ClassVar = ["date", "store", "shown_status", "rows", "note", "marked_by"]
    list_filter: ClassVar = [
        ("store__customer", CustomerOfStoreFilter),
        ("date", RangeDateFilter),
        "status",
        ("store", ScopedAutocompleteFilter),
    ]
    ordering: ClassVar = ["-date", "store_id"]
    search_fields: ClassVar = ["=store__code", "note"]
    actions: ClassVar = ["mark_closed", "mark_missing"]
    export_columns: ClassVar = {
        "date": "date",
        "store_id": "store__code",
        "status": "status",
        "rows": "rows",
        "note": "note",
        "marked_by": "marked_by__email",
    }

    @display(
        description="status",
        ordering="status",
        label={FeedDay.Status.COMPLETE: "success", FeedDay.Status.MISSING: "danger", FeedDay.Status.CLOSED: "info"},
    )
    def shown_status(self, day: FeedDay) -> tuple[str, str]:
        return day.status, day.get_status_display()

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return ("store", "date") if obj else ()

    def save_model(self, request: HttpRequest, obj: FeedDay, form: Any, change: bool) -> None:
        saved = feed.mark_day(
            obj.store, obj.date, FeedDay.Status(obj.status), by=cast(User, request.user), note=obj.note
        )
        obj.pk = saved.pk

    @admin.action(description="Mark as closed …", permissions=["change"])
    def mark_closed(self, request: HttpRequest, queryset: QuerySet[FeedDay]) -> HttpResponse | None:
        return self._mark(request, queryset, FeedDay.Status.CLOSED)

    @admin.action(description="Mark as missing …", permissions=["change"])
    def mark_missing(self, request: HttpRequest, queryset: QuerySet[FeedDay]) -> HttpResponse | None:
        return self._mark(request, queryset, FeedDay.Status.MISSING)

    def _mark(self, request: HttpRequest, queryset: QuerySet[FeedDay], status: FeedDay.Status) -> HttpResponse | None:
        """First asks for the note, then marks; both steps are the same POST to the list."""
        form = MarkForm(request.POST if "note" in request.POST else None)
        if form.is_valid():
            marked = feed.mark(queryset, status, by=cast(User, request.user), note=form.cleaned_data["note"])
            messages.success(request, f"Marked as {status.label.lower()}: {marked} of {queryset.count()} days.")
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": f"Mark {queryset.count()} days as {status.label.lower()}",
            "opts": self.opts,
            "form": form,
            "action": request.POST["action"],
            "selected": request.POST.getlist("_selected_action"),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/mark_days.html", context)
