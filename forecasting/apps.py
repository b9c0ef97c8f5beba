from django.apps import AppConfig


class ForecastingConfig(AppConfig):
    name = "forecasting"
    verbose_name = "Forecasting"

    def ready(self) -> None:
        from forecasting import day, drift, nightly, previews, retraining_job, scoring  # models are ready only now
        from mlops import review_facts

        retraining_job.register()
        scoring.register()
        nightly.register()
        drift.register()
        day.register()
        review_facts.compare_previews_with(previews.difference)
