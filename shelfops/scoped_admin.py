"""The admin base class: every table shows each person the rows of their customers, and no name of anybody else's."""

import uuid
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, ClassVar, cast

from django.contrib.admin import AdminSite, AllValuesFieldListFilter, ShowFacets
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Field, ForeignKey, Model, QuerySet
from django.forms import ModelChoiceField
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from import_export.admin import ExportMixin
from import_export.formats.base_formats import CSV, JSON, XLSX
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter
from unfold.contrib.import_export.forms import ExportForm

from shelfops import columns, exports, tenancy
from shelfops.columns import Words
from shelfops.models import Customer, Membership, User
from shelfops.tenancy import Action


def customer_ids(request: HttpRequest, action: Action) -> set[uuid.UUID]:
    """The customers at which the caller may do this: one query per action and request."""
    known: dict[Action, set[uuid.UUID]] = request.__dict__.setdefault("_customer_ids", {})
    if action not in known:
        known[action] = set(tenancy.customers_of(request.user, action).values_list("pk", flat=True))
    return known[action]


def visible(model: type[Model], request: HttpRequest, action: Action, site: AdminSite) -> QuerySet[Any]:
    """The rows of any table that the caller may be shown as a choice; none of a table that has no owner."""
    queryset = model._default_manager.all()
    customers = tenancy.customers_of(request.user, action)
    if model is User:
        return queryset.filter(pk__in=Membership.objects.filter(customer__in=customers).values("user"))
    owner = site._registry.get(model)
    if not isinstance(owner, ScopedAdmin):
        return queryset if request.user.is_superuser else queryset.none()
    return tenancy.scope(queryset, request.user, owner.customer_path, action)


class ScopedDropdownFilter(RelatedDropdownFilter):
    """A filter by a related row that offers only the caller's own."""

    def field_choices(self, field: Field, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[Any, str]]:
        rows = visible(cast(type[Model], field.related_model), request, Action.READ, model_admin.admin_site)
        return [(row.pk, str(row)) for row in rows]


@cache
def _filter_in(words: Words) -> type[AllValuesFieldListFilter]:
    """A filter by the values that there are, in words."""

    class InWords(AllValuesFieldListFilter):
        def choices(self, changelist: Any) -> Any:
            everything, *others = super().choices(changelist)
            yield everything
            values = [value for value in self.lookup_choices if value is not None]
            for value, choice in zip(values, others, strict=False):
                yield {**choice, "display": words(value) or "–"}
            yield from others[len(values) :]  # that there is none, which comes last wherever the database sorts it

    return InWords


class ScopedAutocompleteFilter(AutocompleteSelectFilter):
    """The same for tables too long for a dropdown; it names a chosen row only if it is the caller's own."""

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            field = choice["form"].fields[self.lookup_kwarg]
            field.queryset = visible(field.queryset.model, self.request, Action.READ, self.model_admin.admin_site)
            yield choice


class Shown:
    """Shows what nobody edits as people read it; `words` says how a field's values are worded."""

    model: type[Model]
    admin_site: AdminSite
    customer_path: str
    words: ClassVar[dict[str, Words]] = {}

    def customer_of(self, obj: Model) -> Customer:
        """The customer that owns the row."""
        owner: Any = obj
        for step in () if self.customer_path == "pk" else self.customer_path.split("__"):
            owner = getattr(owner, step)
        return cast(Customer, owner)

    def as_shown(self, names: Iterable[Any], *, linked: bool = True) -> list[Any]:
        """Fields' names by what shows them; each always by the same, for Django finds it by identity."""
        fields = {field.name: field for field in self.model._meta.concrete_fields}
        return [self._column(fields[name], linked) if name in fields else name for name in names]

    def _column(self, field: Field, linked: bool) -> Any:
        known: dict[tuple[str, bool], Any] = self.__dict__.setdefault("_columns", {})
        key = (field.name, linked)
        if key not in known:
            words, page = self.words.get(field.name), self._page_of_related(field) if linked else None
            is_needed = columns.is_shown_anew(field, words, page)
            known[key] = columns.column(field, words, self.customer_of, page) if is_needed else field.name
        return known[key]

    def _page_of_related(self, field: Field) -> columns.Page | None:
        owner = self.admin_site._registry.get(field.related_model) if field.related_model else None
        if owner and not isinstance(owner, ScopedAdmin):
            return columns.nowhere
        return owner.page_of if isinstance(owner, ScopedAdmin) and owner.has_pages else None


class ScopedAdmin(Shown, ExportMixin, ModelAdmin):
    """Rows by `customer_path`, rights by `tenancy`; without an `edit_action` nobody edits, not even a superuser."""

    customer_path = "customer"
    has_pages = False  # whether rows have a page of their own beside the admin's
    edit_action: Action | None = None
    can_add = True
    can_delete = True

    list_per_page = 50
    show_full_result_count = False
    list_filter_submit = True
    list_filter_sheet = False
    show_facets = ShowFacets.NEVER
    export_form_class = ExportForm
    export_columns: ClassVar[dict[str, str]] = {}

    # --- Rows

    def customer_id(self, obj: Model) -> Any:
        """The key of the customer that owns the row."""
        *steps, last = self.customer_path.split("__")
        owner: Any = obj
        for step in steps:
            owner = getattr(owner, step)
        return owner.pk if last == "pk" else getattr(owner, f"{last}_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """By keys rather than a subquery: one customer is an equality, which an index answers in its own order."""
        rows = super().get_queryset(request)
        if request.user.is_active and request.user.is_superuser:
            return rows
        return rows.filter(**{f"{self.customer_path}__in": customer_ids(request, Action.READ)})

    def page_of(self, obj: Model, customer: Customer) -> str:
        """The page that tells a row best; asked of tables that have such pages."""
        raise NotImplementedError

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404(f"There is no such {opts.verbose_name}.")

    # --- Rights

    def may(self, request: HttpRequest, action: Action | None, obj: Model | None = None) -> bool:
        if action is None:
            return False
        ids = customer_ids(request, action)
        return bool(ids) if obj is None else self.customer_id(obj) in ids

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may(request, Action.READ)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, Action.READ, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.can_add and self.may(request, self.edit_action)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may(request, self.edit_action, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.can_delete and self.may(request, self.edit_action, obj)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    # --- Forms and lists

    def formfield_for_foreignkey(
        self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField | None:
        kwargs.setdefault(
            "queryset", visible(db_field.related_model, request, self.edit_action or Action.READ, self.admin_site)
        )
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """A row stays with its customer."""
        fields = tuple(super().get_readonly_fields(request, obj))
        owner = self.customer_path.split("__")[0]
        owned = fields if obj is None or owner == "pk" or owner in fields else (*fields, owner)
        return (*owned, *(shown for shown in self.as_shown(fields) if callable(shown) and shown not in owned))

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> list[tuple[str | None, dict[str, Any]]]:
        """What is not edited here is shown, not filled in."""
        return self.told_groups(request, obj, super().get_fieldsets(request, obj))

    def told_groups(
        self, request: HttpRequest, obj: Model | None, groups: Any
    ) -> list[tuple[str | None, dict[str, Any]]]:
        if obj is None:
            return list(groups)
        edited = self.has_change_permission(request, obj)
        kept = set(super().get_readonly_fields(request, obj)) if edited else None
        return [(title, {**group, "fields": self._told(group["fields"], kept)}) for title, group in groups]

    def _told(self, names: Sequence[Any], kept: set[Any] | None) -> list[Any]:
        """`kept` are those that one cannot edit on a form; None for a page without a form."""
        return [self.as_shown([name])[0] if kept is None or name in kept else name for name in names]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The first column leads to the row's own page, so it cannot lead elsewhere."""
        first, *others = (name for name in super().get_list_display(request) if not self._is_needless(request, name))
        has_links = self.list_display_links is None or bool(self.list_display_links)
        return [*self.as_shown([first], linked=has_links), *self.as_shown(others)]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [
            self._scoped_filter(entry)
            for entry in super().get_list_filter(request)
            if not self._is_needless(request, entry[0] if isinstance(entry, tuple) else entry)
        ]

    def _is_needless(self, request: HttpRequest, name: Any) -> bool:
        """Who has one customer needs no column and no filter for it."""
        return name == self.customer_path and name != "pk" and len(customer_ids(request, Action.READ)) < 2

    def _scoped_filter(self, entry: Any) -> Any:
        if isinstance(entry, str) and entry in self.words and not self.opts.get_field(entry).choices:
            return (entry, _filter_in(self.words[entry]))
        if isinstance(entry, str) and self._is_relation(entry):
            return (entry, ScopedDropdownFilter)
        return entry

    def _is_relation(self, path: str) -> bool:
        options = self.opts
        for step in path.split("__"):
            field = options.get_field(step)
            if not field.is_relation:
                return False
            options = field.related_model._meta
        return True

    # --- Export

    def get_export_formats(self) -> list[Any]:
        return [CSV, XLSX, JSON]

    def get_export_resource_classes(self, request: HttpRequest) -> list[Any]:
        return [exports.resource(self.model, self.export_columns)]

    def get_export_data(self, file_format: Any, request: HttpRequest, queryset: QuerySet[Any], **_kwargs: Any) -> Any:
        if not self.has_export_permission(request):
            raise PermissionDenied
        columns = self.export_columns or exports.default_columns(self.model)
        return file_format.export_data(exports.table(queryset, columns, as_text=not isinstance(file_format, JSON)))


class ScopedHistoryAdmin(SimpleHistoryAdmin, ScopedAdmin):
    """A table that people edit: every change is kept, and shown to those who may see the row."""

    object_history_list_template = "admin/history_list.html"

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        obj = self._visible_or_404(request, object_id)
        shown = {
            "titles": ["When", "What", "Who", "Why", "Changes"],
            "detail_url": f"admin:{self.opts.app_label}_{self.opts.model_name}_simple_history",
            # Who may not restore an old state is not offered it either.
            "revert_disabled": not self.has_change_permission(request, obj),
        }
        return super().history_view(request, object_id, {**shown, **(extra_context or {})})

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        # The stock view lets whoever may see an old version also restore it.
        if not self.has_change_permission(request, self._visible_or_404(request, object_id)):
            raise PermissionDenied("You may look at the list of changes, but not restore one.")
        return super().history_form_view(request, object_id, version_id, extra_context)

    def _visible_or_404(self, request: HttpRequest, object_id: str) -> Model:
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        return obj


class LedgerInline(Shown, TabularInline):
    """Rows of a ledger under the row that they belong to; who may open that one may read them."""

    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what a row names, and the customer in whose zone it is told."""
        named = [name for name in self.fields or [] if self.opts.get_field(name).is_relation]
        return super().get_queryset(request).select_related(self.customer_path, *named)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> list[tuple[str | None, dict[str, Any]]]:
        return [
            (title, {**group, "fields": self.as_shown(group["fields"])})
            for title, group in super().get_fieldsets(request, obj)
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return [*super().get_readonly_fields(request, obj), *self.as_shown(self.fields or [])]

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(customer_ids(request, Action.READ))

    def _never(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = _never


class SuperuserAdmin(ModelAdmin):
    """A table of the installation, not of a customer: superusers only."""

    def _is_superuser(self, request: HttpRequest, _obj: Model | None = None) -> bool:
        return request.user.is_active and request.user.is_superuser

    has_module_permission = has_add_permission = _is_superuser
    has_view_permission = has_change_permission = has_delete_permission = _is_superuser
