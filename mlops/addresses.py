"""Where the pages of a version are."""

from urllib.parse import urlencode

from django.urls import reverse

from mlops.models import ModelVersion
from shelfops import tenancy
from shelfops.models import MODEL_NAME_DEFAULT, Customer, User
from shelfops.tenancy import Action


def url(version: ModelVersion, customer: Customer | None = None, *, name: str = "review") -> str:
    """The page's address, unmistakable for people of several customers too."""
    asked = {"customer": (customer or version.customer).slug}
    if version.model_name != MODEL_NAME_DEFAULT:
        asked["model_name"] = version.model_name
    return f"{reverse(name, args=[version.version])}?{urlencode(asked)}"


def life_url(version: ModelVersion, customer: Customer | None = None) -> str:
    """The same of the page that tells its life."""
    return url(version, customer, name="version")


def roll_back_url(version: ModelVersion, by: User) -> str:
    """Where this person is asked whether it shall serve again; empty where it cannot, or where they may not."""
    if not version.is_former_champion or not tenancy.allowed(by, version.customer, Action.ROLL_BACK):
        return ""
    return reverse("admin:mlops_modelversion_roll_back", args=[version.pk])
