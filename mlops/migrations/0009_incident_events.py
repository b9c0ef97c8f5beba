import django.db.models.deletion
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def tell_what_is_known(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Of incidents from before: when they were opened, and how they were closed."""
    event = apps.get_model("mlops", "IncidentEvent")
    for incident in apps.get_model("mlops", "DriftIncident").objects.order_by("pk"):
        opened = f"MAE {incident.drift_pct:.1f} % worse than in the month before"
        event.objects.create(incident=incident, kind="opened", reason=opened, as_of=incident.opened_on)
        if incident.closed_on:
            closed = {"by": incident.closed_by, "reason": incident.reason, "as_of": incident.closed_on}
            event.objects.create(incident=incident, kind="closed", **closed)


class Migration(migrations.Migration):
    dependencies = [
        ("mlops", "0008_several_versions_of_one_run"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="IncidentEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("opened", "Opened"),
                            ("trained", "New version trained"),
                            ("failed", "Emergency retrain failed"),
                            ("asked_again", "Retrain asked for again"),
                            ("closed", "Closed"),
                        ],
                        max_length=11,
                    ),
                ),
                ("reason", models.TextField()),
                ("as_of", models.DateField(help_text="The customer's day.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: the system, by rule.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="events", to="mlops.driftincident"
                    ),
                ),
            ],
            options={
                "db_table": "drift_incident_events",
                "ordering": ["created_at", "id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["opened", "trained", "failed", "asked_again", "closed"])),
                        name="incident_event_kind_known",
                    )
                ],
            },
        ),
        migrations.RunPython(tell_what_is_known, migrations.RunPython.noop, elidable=True),
    ]
