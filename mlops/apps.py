from django.apps import AppConfig


class MlopsConfig(AppConfig):
    name = "mlops"
    verbose_name = "Models"

    def ready(self) -> None:
        from mlops import incidents, review, unreplaced  # models are ready only now

        incidents.register()
        review.register()
        unreplaced.register()
