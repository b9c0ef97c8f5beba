from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "alerts"
    verbose_name = "Alerts"

    def ready(self) -> None:
        from alerts import notify, tasks  # models are ready only now

        notify.send_with(tasks.send)
