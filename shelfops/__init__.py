"""ShelfOps: the life of a retailer's demand-forecasting models."""

from shelfops.celery import app as celery_app

__all__ = ["celery_app"]
