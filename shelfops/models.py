"""The ground that every other app stands on: customers, people and the roles that join them."""

import datetime as dt
import uuid
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, available_timezones

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone

MODEL_NAME_DEFAULT = "demand_forecast"


def validate_timezone(name: str) -> None:
    """Refuses what is not an IANA time zone, such as `EST5` or `Berlin`."""
    if name not in available_timezones():
        raise ValidationError(f"“{name}” is not a time zone. Use an IANA name such as Europe/Berlin.")


class UserManager(BaseUserManager["User"]):
    """People are known by their e-mail address, in any case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        if not email:
            raise ValueError("A person needs an e-mail address.")
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


class User(AbstractUser):
    """A person, who logs in with an e-mail address and has a role at each of their customers."""

    username = None  # type: ignore[assignment]  # replaced by the e-mail address
    email = models.EmailField("e-mail", unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]  # in place of AbstractUser's

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        ordering: ClassVar = ["email"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("email"), name="user_email_any_case", violation_error_message="This e-mail address is taken."
            )
        ]

    def __str__(self) -> str:
        return self.email


class Customer(models.Model):
    """A retailer: the owner of every other row, with its own time zone and its own today."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(
        unique=True,
        max_length=60,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9-]*$", "Use lower-case letters, digits and hyphens.")],
    )
    name = models.CharField(max_length=120)
    timezone = models.CharField("time zone", max_length=64, default="UTC", validators=[validate_timezone])
    country = models.CharField(
        max_length=2, blank=True, help_text="ISO code such as US; decides which public holidays count. Empty: none."
    )
    clock = models.DateField(null=True, blank=True, help_text="Fixes this customer's today. Empty: the real date.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def real_today(self) -> dt.date:
        """The date on the wall, in the customer's time zone."""
        return timezone.now().astimezone(ZoneInfo(self.timezone)).date()

    def today(self) -> dt.date:
        """The clock where it is set (demo and replays move it), else the date on the wall."""
        return self.clock or self.real_today()


class Role(models.TextChoices):
    """What a person is at a customer; `tenancy.MATRIX` says what each may do."""

    DATA_SCIENTIST = "data_scientist", "Data scientist"
    ML_MANAGER = "ml_manager", "ML manager"
    RETAIL_OPS = "retail_ops", "Retail operations"


class JobRun(models.Model):
    """One piece of work: asked for once per slot, done by one worker, told from its beginning to its end."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="job_runs")
    job = models.CharField(max_length=40, help_text="Such as retrain.")
    slot = models.CharField(max_length=80, help_text="The date it was due, or the key of the request.")
    arguments = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    requested_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text="Empty: the timetable."
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    stage = models.CharField(max_length=100, blank=True)
    percent = models.PositiveSmallIntegerField(default=0)
    stages = models.JSONField(default=list, blank=True, help_text="Each stage with its seconds, in order.")
    attempt = models.PositiveSmallIntegerField(default=0, help_text="How often a worker has begun it.")
    deaths = models.PositiveSmallIntegerField(
        default=0, help_text="How many of its workers have died since somebody asked for it."
    )
    result = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    error = models.TextField(blank=True, help_text="Why it failed or was skipped.")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When a worker was last told of it.")
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "job_runs"
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name = "run"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "job", "slot"], name="one_run_per_slot"),
            models.CheckConstraint(
                condition=models.Q(status__in=["queued", "running", "completed", "failed", "skipped"]),
                name="job_run_status_known",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["status", "heartbeat_at"], name="job_runs_by_heartbeat")]

    def __str__(self) -> str:
        return f"{self.job} {self.slot}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.pk])

    @property
    def is_over(self) -> bool:
        return self.status not in (self.Status.QUEUED, self.Status.RUNNING)

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken so far."""
        if self.started_at is None:
            return None
        return ((self.completed_at or timezone.now()) - self.started_at).total_seconds()


class Lease(models.Model):
    """Who may work on a resource of a customer until when; renewed by a heartbeat, free again when it has expired."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="leases")
    resource = models.CharField(max_length=80, help_text="Such as demand_forecast: one training at a time.")
    run = models.ForeignKey(JobRun, on_delete=models.CASCADE, related_name="leases")
    attempt = models.PositiveSmallIntegerField(help_text="The attempt of the run that took it.")
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "leases"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "resource"], name="one_lease_per_resource")
        ]

    def __str__(self) -> str:
        return f"{self.resource} held by {self.run}"


class Membership(models.Model):
    """One person's role at one customer."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships", verbose_name="person")
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "member"
        ordering: ClassVar = ["customer", "user"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "customer"], name="one_role_per_person_and_customer"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()} at {self.customer}"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def valid(self) -> "ApiTokenQuerySet":
        """Neither revoked nor expired, of a person who may still log in."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now(), user__is_active=True)


class ApiToken(models.Model):
    """What a program shows instead of a password: one person's, for a time, and revocable.

    Only its SHA-256 is stored. A slow hash protects what people can guess; nobody guesses 256 random bits.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens", verbose_name="person")
    name = models.CharField(max_length=80, help_text="What it is for.")
    prefix = models.CharField("begins with", max_length=12)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    customers: list[Customer]  # of the person, by slug; only where `tokens.find` has found it

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        db_table = "api_tokens"
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class StoredAnswer(models.Model):
    """The first answer to a request that named a key of its own: whoever sends it again gets this one."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200, help_text="The caller's Idempotency-Key.")
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was asked of whom.")
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)
    location = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "stored_answers"
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "key"], name="one_answer_per_key")]

    def __str__(self) -> str:
        return f"{self.status} to {self.key}"
