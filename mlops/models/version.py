"""The registry of model versions, and the event that every change of status leaves."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from shelfops.models import MODEL_NAME_DEFAULT, Customer

GLOBAL = "global"


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    """The questions that are asked of the registry."""

    def of(self, customer: Customer, model_name: str = MODEL_NAME_DEFAULT) -> "ModelVersionQuerySet":
        return self.filter(customer=customer, model_name=model_name)

    def champions(self) -> "ModelVersionQuerySet":
        return self.filter(status=ModelVersion.Status.CHAMPION)

    def champion_for(
        self, customer: Customer, segment: str = GLOBAL, model_name: str = MODEL_NAME_DEFAULT
    ) -> "ModelVersion | None":
        """The version that serves the segment; None where there is none yet."""
        return self.of(customer, model_name).champions().filter(segment=segment).first()

    def segment_of(self, version: "ModelVersion") -> "ModelVersionQuerySet":
        """All versions of its segment, itself too."""
        return self.filter(customer_id=version.customer_id, model_name=version.model_name, segment=version.segment)

    def locked(self) -> "ModelVersionQuerySet":
        """In key order, locked as they are read.

        `no_key`, or rows that refer to a version (a new event, a child) would wait for us while holding what we wait
        for.
        """
        return self.order_by("pk").select_for_update(no_key=True)


class ModelVersion(models.Model):
    """One trained version: what it was made of, how it was judged, and what it is now."""

    class Status(models.TextChoices):
        CANDIDATE = "candidate", "Candidate"
        CHALLENGER = "challenger", "Challenger"
        EXPERIMENTAL = "experimental", "Experimental"
        CHAMPION = "champion", "Champion"
        ARCHIVED = "archived", "Archived"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="versions")
    model_name = models.CharField(max_length=64, default=MODEL_NAME_DEFAULT)
    number = models.PositiveIntegerField()
    version = models.CharField(max_length=100, help_text="v13, or v13_electronics for a segment.")
    segment = models.CharField(max_length=100, default=GLOBAL, help_text="global, department:Electronics, …")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.CANDIDATE)
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children",
        help_text="The champion whose recipe it was trained by, or was compared with.",
    )  # fmt: skip

    tier = models.CharField("feature tier", max_length=64)
    recipe = models.JSONField(help_text="Tier, parameters, training window, segment: what makes two fits comparable.")
    as_of = models.DateField(help_text="The customer's day on which it was trained.")
    evaluation_start = models.DateField()
    evaluation_end = models.DateField(help_text="Last target of the fit that was judged.")
    train_start = models.DateField()
    train_end = models.DateField(help_text="Last target of the fit that serves.")
    rows = models.PositiveBigIntegerField(help_text="Training rows of the fit that serves.")
    series = models.PositiveIntegerField(help_text="Series it was trained on.")
    products = models.JSONField(default=list, help_text="The only products it was trained for; empty: all.")
    data_hash = models.CharField(max_length=64, help_text="SHA-256 of the training matrix and targets.")
    code_version = models.CharField(max_length=64, blank=True)
    libraries = models.JSONField(default=dict)

    mae = models.FloatField("MAE", null=True, blank=True, help_text="Hold-out, leads 1 to 7; units per series and day.")
    baseline_mae = models.FloatField("seasonal naive MAE", null=True, blank=True, help_text="On the same rows.")
    coverage = models.FloatField(null=True, blank=True, help_text="Of the interval, on days that did not calibrate it.")
    decision = models.JSONField(default=dict, help_text="Numbers, thresholds, each guard's verdict, reason in words.")
    run = models.ForeignKey(
        "mlops.ModelRetrainingLog", on_delete=models.PROTECT, null=True, blank=True, related_name="versions"
    )
    experiment = models.ForeignKey(
        "mlops.ModelExperiment", on_delete=models.PROTECT, null=True, blank=True, related_name="versions"
    )
    champion_since = models.DateField(null=True, blank=True, help_text="The day it last became champion.")
    metrics = models.JSONField(default=dict)
    importances = models.JSONField(default=list, help_text="Features by their share of all effect, strongest first.")

    artefact = models.CharField(max_length=200, help_text="Folder in the artefact store.")
    artefact_sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        db_table = "model_versions"
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "model_name", "version"], name="version_once"),
            models.UniqueConstraint(
                fields=["customer", "model_name", "segment"],
                condition=models.Q(status="champion"),
                name="one_champion_per_segment",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["candidate", "challenger", "experimental", "champion", "archived"]),
                name="version_status_known",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["customer", "model_name", "status"], name="versions_by_status")]

    def __str__(self) -> str:
        return self.version

    @property
    def is_former_champion(self) -> bool:
        """Whether one can roll back to it."""
        return self.status == self.Status.ARCHIVED and self.champion_since is not None


class VersionEvent(models.Model):
    """One change of a version's status: from what to what, by whom, why and when."""

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="events")
    from_status = models.CharField(max_length=12, blank=True)
    to_status = models.CharField(max_length=12, choices=ModelVersion.Status.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Empty: the system, by rule.",
    )  # fmt: skip
    reason = models.TextField()
    as_of = models.DateField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "version_events"
        ordering: ClassVar = ["created_at", "id"]

    def __str__(self) -> str:
        before = ModelVersion.Status(self.from_status).label if self.from_status else "New"
        return f"{self.version}: {before} → {self.get_to_status_display()}"
