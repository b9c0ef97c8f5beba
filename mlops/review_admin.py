"""People's decisions about challengers in the admin: to be read, never edited."""

from typing import ClassVar

from django.contrib import admin
from unfold.decorators import display

from mlops.models import ModelReview
from shelfops.scoped_admin import ScopedAdmin, ScopedAutocompleteFilter

ACTION_COLOURS = {ModelReview.Action.APPROVE: "success", ModelReview.Action.REJECT: "danger"}


@admin.register(ModelReview)
class ModelReviewAdmin(ScopedAdmin):
    list_display: ClassVar = [
        "created_at",
        "version",
        "shown_action",
        "by",
        "notes",
        "champion",
        "verdict",
        "customer",
    ]
    list_filter: ClassVar = ["customer", "action", "verdict", ("version", ScopedAutocompleteFilter)]
    list_select_related: ClassVar = ["version", "by", "champion", "customer"]
    search_fields: ClassVar = ["version__version", "notes"]
    date_hierarchy = "as_of"
    fields: ClassVar = [
        "version", "action", "by", "notes", "champion", "verdict", "alert", "as_of", "created_at", "customer",
    ]  # fmt: skip
    readonly_fields: ClassVar = ["created_at"]
    export_columns: ClassVar = {
        "created_at": "created_at",
        "as_of": "as_of",
        "version": "version__version",
        "action": "action",
        "by": "by__email",
        "notes": "notes",
        "champion": "champion__version",
        "verdict": "verdict",
        "alert": "alert_id",
    }

    @display(description="decision", ordering="action", label=ACTION_COLOURS)
    def shown_action(self, review: ModelReview) -> tuple[str, str]:
        return review.action, review.get_action_display()
