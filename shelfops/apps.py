from django.apps import AppConfig
from django.contrib.admin import apps as stock


class ShelfOpsConfig(AppConfig):
    name = "shelfops"
    verbose_name = "People and customers"
    default = True

    def ready(self) -> None:
        from shelfops import (  # Django is not ready any earlier
            checks,  # noqa: F401  # registers them
            jobs,
            tasks,
        )

        jobs.send_with(tasks.send)


class SiteConfig(stock.AdminConfig):
    """Django's admin with this project's site in place of the stock one."""

    default = False
    default_site = "shelfops.sites.AdminSite"
