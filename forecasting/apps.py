from django.apps import AppConfig


class ForecastingConfig(AppConfig):
    name = "forecasting"
    verbose_name = "Forecasting"

    def ready(self) -> None:
        from forecasting import (  # models are ready only now
            day,
            drift,
            drift_again,
            nightly,
            previews,
            retraining_job,
            scoring,
        )
        from mlops import review_facts

        retraining_job.register()
        scoring.register()
        nightly.register()
        drift.register()
        drift_again.register()
        day.register()
        review_facts.compare_previews_with(previews.difference)
