"""What the retailer brings: stores, products, sales, which days are covered, and plans."""

import datetime as dt
from collections.abc import Collection
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef
from django.db.models.expressions import RawSQL
from simple_history.models import HistoricalRecords

from mlops.models import ModelVersion, RoutingRule
from shelfops.models import MODEL_NAME_DEFAULT, Customer


class Store(models.Model):
    """A place that sells; `code` is the retailer's own key (`store_id` in files and the API)."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="stores")
    code = models.CharField("store id", max_length=64)
    name = models.CharField(max_length=200, blank=True)
    cluster = models.CharField(max_length=64, blank=True, help_text="Such as Urban; segments can be made of it.")
    history = HistoricalRecords()

    class Meta:
        db_table = "stores"
        ordering: ClassVar = ["customer", "code"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["customer", "code"], name="store_code_once")]

    def __str__(self) -> str:
        return self.name or self.code


class Product(models.Model):
    """A thing that is sold; `code` is the retailer's own key (`product_id` in files and the API)."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="products")
    code = models.CharField("product id", max_length=64)
    name = models.CharField(max_length=200, blank=True)
    department = models.CharField(
        max_length=64, blank=True, help_text="Empty: the department that the customer's table gives to its category."
    )
    category = models.CharField(max_length=64, blank=True)
    history = HistoricalRecords()

    class Meta:
        db_table = "products"
        ordering: ClassVar = ["customer", "code"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["customer", "code"], name="product_code_once")]
        indexes: ClassVar = [models.Index(fields=["customer", "department"], name="product_by_department")]

    def __str__(self) -> str:
        return self.name or self.code


class CategoryDepartment(models.Model):
    """The customer's table from category to department, for products whose data name no department."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="category_departments")
    category = models.CharField(max_length=64)
    department = models.CharField(max_length=64)
    history = HistoricalRecords()

    class Meta:
        db_table = "category_departments"
        ordering: ClassVar = ["customer", "category"]
        verbose_name = "category"
        verbose_name_plural = "categories"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "category"], name="one_department_per_category")
        ]

    def __str__(self) -> str:
        return f"{self.category} → {self.department}"


class SaleQuerySet(models.QuerySet["Sale"]):
    def of_series(self, store_id: int, product_id: int) -> "SaleQuerySet":
        """One product in one store, looked up day by day over the days that are known of the store."""
        days = FeedDay.objects.filter(store=store_id).values("date")
        return self.filter(store=store_id, product=product_id, date__in=days)


class Sale(models.Model):
    """Net units of one product sold in one store on one day.

    The table grows without end, by the day, and its one index begins with the date, so that new rows go to its end:
    an index by series made loading 1.4 (PostgreSQL) to 7 times (SQLite) slower. `of_series` does without.
    """

    store = models.ForeignKey(Store, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+")
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    date = models.DateField()
    quantity = models.FloatField(help_text="Negative when more came back than was sold.")
    unit_price = models.FloatField(null=True, blank=True)
    promo = models.BooleanField(null=True, blank=True)

    objects = SaleQuerySet.as_manager()

    class Meta:
        db_table = "sales"
        constraints: ClassVar = [models.UniqueConstraint(fields=["date", "store", "product"], name="one_sale_per_day")]

    def __str__(self) -> str:
        return f"{self.quantity:g} on {self.date}"


class Series(models.Model):
    """A product in a store, known from its first sale there."""

    store = models.ForeignKey(Store, on_delete=models.CASCADE, related_name="series")
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="series")
    first_sold = models.DateField(help_text="First day with a positive quantity; rows before it do not count.")

    class Meta:
        db_table = "series"
        verbose_name = "product in a store"
        verbose_name_plural = "products in stores"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["store", "product"], name="one_series_per_store_and_product")
        ]

    def __str__(self) -> str:
        return f"{self.product} in {self.store}"


class FeedDay(models.Model):
    """Whether the sales of a store are in for a day. A store-day without a row here is missing."""

    class Status(models.TextChoices):
        COMPLETE = "complete", "Complete"
        MISSING = "missing", "Missing"
        CLOSED = "closed", "Closed"

    store = models.ForeignKey(Store, on_delete=models.CASCADE, related_name="feed_days", db_index=False)
    date = models.DateField()
    status = models.CharField(max_length=8, choices=Status.choices)
    rows = models.PositiveIntegerField(default=0, help_text="Sales rows that the load brought for this day.")
    note = models.CharField(max_length=200, blank=True)
    scored = models.BooleanField(
        default=False, editable=False, help_text="Forecasts were compared with its sales since these last changed."
    )
    marked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "feed_days"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["store", "date"], name="one_feed_day_per_store"),
            models.CheckConstraint(
                condition=models.Q(status__in=["complete", "missing", "closed"]), name="feed_day_status_known"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["date"], name="feed_days_by_date")]

    def __str__(self) -> str:
        return f"{self.store} on {self.date}: {self.get_status_display()}"


class PlannedPrice(models.Model):
    """A price or promotion planned for a day, and the day since when that plan was known."""

    store = models.ForeignKey(Store, on_delete=models.CASCADE, db_index=False, db_constraint=False, related_name="+")
    product = models.ForeignKey(
        Product, on_delete=models.CASCADE, db_index=False, db_constraint=False, related_name="+"
    )
    date = models.DateField()
    known_at = models.DateField(help_text="A forecast made on this day or later may use the plan.")
    unit_price = models.FloatField(null=True, blank=True)
    promo = models.BooleanField(null=True, blank=True)

    class Meta:
        db_table = "planned_prices"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["date", "store", "product", "known_at"], name="one_plan_per_day_known"),
        ]
        indexes: ClassVar = [models.Index(fields=["store", "product"], name="plans_by_series")]

    def __str__(self) -> str:
        return f"Plan for {self.date}, known on {self.known_at}"


class ForecastRunQuerySet(models.QuerySet["ForecastRun"]):
    """The questions that are asked of the runs."""

    def published(self) -> "ForecastRunQuerySet":
        """The runs whose rows may be read: the one that is valid now, and former ones."""
        return self.exclude(status=ForecastRun.Status.WRITING)

    def current(self, customer: Customer, model_name: str = MODEL_NAME_DEFAULT) -> "ForecastRun | None":
        """The run whose forecasts are valid now."""
        return self.filter(customer=customer, model_name=model_name, status=ForecastRun.Status.PUBLISHED).first()


class ForecastRun(models.Model):
    """One set of forecasts for all series; published as a whole, so that nobody reads half of one."""

    class Status(models.TextChoices):
        WRITING = "writing", "Being written"
        PUBLISHED = "published", "Published"
        SUPERSEDED = "superseded", "Superseded"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="forecast_runs")
    model_name = models.CharField(max_length=64, default=MODEL_NAME_DEFAULT)
    as_of = models.DateField(help_text="The customer's day on which it ran.")
    origin = models.DateField(help_text="Last day whose sales it knew.")
    cause = models.CharField(max_length=200, help_text="Why it ran: the night, or a promotion.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WRITING)
    days = models.PositiveSmallIntegerField("days ahead", default=14)
    rules = models.JSONField(default=list, help_text="Keys of the routing rules that held.")
    rows = models.PositiveIntegerField(default=0)
    notes = models.TextField(blank=True, help_text="What was made up for, and what was left out and why.")
    pruned = models.BooleanField(default=False, help_text="Its rows beyond one day ahead have been deleted.")
    created_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True, blank=True)

    objects = ForecastRunQuerySet.as_manager()

    class Meta:
        db_table = "forecast_runs"
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "model_name"], condition=models.Q(status="published"), name="one_published_run"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["writing", "published", "superseded"]), name="forecast_run_status_known"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["customer", "as_of"], name="forecast_runs_by_day")]

    def __str__(self) -> str:
        return f"Forecasts of {self.as_of}"


class ForecastQuerySet(models.QuerySet["Forecast"]):
    """The questions that are asked of the forecasts."""

    def published(self, customer: Customer, model_name: str = MODEL_NAME_DEFAULT) -> "ForecastQuerySet":
        """The customer's rows that may be read: never those of a run that is being written."""
        runs = ForecastRun.objects.published().filter(customer=customer, model_name=model_name)
        return self.filter(run__in=runs)

    def served(self, customer: Customer, days: Collection[dt.date]) -> "ForecastQuerySet":
        """The rows one day ahead of these days: what served on them."""
        return self.one_day_ahead(customer).filter(date__in=days)

    def one_day_ahead(self, customer: Customer, model_name: str = MODEL_NAME_DEFAULT) -> "ForecastQuerySet":
        """All that served, on whichever day.

        SQLite finds them by the index of these rows only where the lead is written out, not given as a parameter, and
        where no run offers itself to begin with: each of those has many times as many rows.
        """
        run = ForecastRun.objects.published().filter(pk=OuterRef("run"), customer=customer, model_name=model_name)
        return self.filter(Exists(run), lead=RawSQL("1", ()))  # nothing from outside


class Forecast(models.Model):
    """What a version expected one product to sell in one store on one day.

    A row one day ahead is what served that day: there is one for each series and day, kept for ever, and nothing of it
    changes but the actual. The rows further ahead are their run's, and are pruned. Band, department and seasonal naive
    are filled one day ahead only, where forecasts are scored.
    """

    run = models.ForeignKey(ForecastRun, on_delete=models.PROTECT, related_name="forecasts", db_index=False)
    store = models.ForeignKey(Store, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+")
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    rule = models.ForeignKey(
        RoutingRule, on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+",
        help_text="Why this version: the routing rule that held.",
    )  # fmt: skip
    origin = models.DateField(help_text="Last day whose sales the forecast knew.")
    date = models.DateField()
    lead = models.PositiveSmallIntegerField(help_text="Days from the origin to the day forecast.")
    prediction = models.FloatField()
    lower = models.FloatField(null=True, blank=True)
    upper = models.FloatField(null=True, blank=True)
    seasonal_naive = models.FloatField(null=True, blank=True, help_text="The same weekday a week before.")
    actual = models.FloatField(null=True, blank=True, help_text="Empty until the day is in.")
    department = models.CharField(max_length=64, blank=True, help_text="As it was when the forecast was made.")
    band = models.CharField("velocity band", max_length=6, blank=True)
    replayed = models.BooleanField(default=False, help_text="Computed after the day, as of the day before.")

    objects = ForecastQuerySet.as_manager()

    class Meta:
        db_table = "forecasts"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "store", "product", "date"], name="forecast_once_a_run"),
            models.UniqueConstraint(
                fields=["date", "store", "product"], condition=models.Q(lead=1), name="one_day_ahead_forecast"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prediction:.1f} for {self.date}"
