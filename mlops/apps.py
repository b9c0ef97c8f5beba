from django.apps import AppConfig


class MlopsConfig(AppConfig):
    name = "mlops"
    verbose_name = "Models"

    def ready(self) -> None:
        from mlops import review, unreplaced  # models are ready only now

        review.register()
        unreplaced.register()
