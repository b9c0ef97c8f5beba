"""People and customers in the admin, and the installation's own tables for superusers."""

from typing import Any, ClassVar, cast
from zoneinfo import available_timezones

from axes import admin as axes
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Field, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django_celery_beat import admin as beat
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from shelfops import customers, people, run_page, timetable_page, tokens
from shelfops.models import ApiToken, Customer, JobRun, Membership, Role, User
from shelfops.scoped_admin import ScopedAdmin, SuperuserAdmin, customer_ids
from shelfops.tenancy import Action

# --- Customers and their members


class MemberForm(forms.ModelForm):
    """A member is named by e-mail address, whether or not the person is known already."""

    email = forms.EmailField(label="E-mail", widget=UnfoldAdminEmailInputWidget)

    class Meta:
        model = Membership
        fields: ClassVar = ["email", "role"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["email"].initial = self.instance.user.email
            self.fields["email"].disabled = True

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        members = Membership.objects.filter(customer=self.instance.customer, user__email__iexact=email)
        if members.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("This person is a member already: change the role in their own line.")
        return email


class MemberInline(TabularInline):
    """Who has which role; managers add people by e-mail address."""

    model = Membership
    form = MemberForm
    fields: ClassVar = ["email", "role"]
    readonly_fields: ClassVar = ["person"]
    extra = 0
    verbose_name = "member"
    hide_title = True

    def _may(self, request: HttpRequest, obj: Model | None = None, action: Action = Action.MANAGE) -> bool:
        """Django also asks without a customer before it reads the rows; those are the customer's on the page."""
        ids = customer_ids(request, action)
        return bool(ids) if obj is None else obj.pk in ids

    has_add_permission = has_change_permission = has_delete_permission = _may

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._may(request, obj, Action.READ)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["email", "role"] if self._may(request, obj) else ["person", "role"]

    @admin.display(description="person")
    def person(self, membership: Membership) -> str:
        """By name: a person's own page is for superusers."""
        return str(membership.user)


@admin.register(Customer)
class CustomerAdmin(ScopedAdmin):
    customer_path = "pk"
    edit_action = Action.MANAGE
    can_delete = False
    inlines: ClassVar = [MemberInline]
    actions_detail: ClassVar = ["timetable"]
    list_display: ClassVar = ["name", "slug", "timezone", "country", "today"]
    search_fields: ClassVar = ["name", "slug"]
    fields: ClassVar = ["name", "slug", "timezone", "country", "clock"]
    export_columns: ClassVar = {
        "slug": "slug",
        "name": "name",
        "timezone": "timezone",
        "country": "country",
        "clock": "clock",
    }

    @admin.display(description="today")
    def today(self, customer: Customer) -> Any:
        return customer.today()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    @action(description="Timetable", url_path="timetable", icon="schedule")
    def timetable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        customer = self.get_object(request, unquote(object_id))
        if customer is None:
            raise Http404("There is no such customer.")
        return timetable_page.show(self, request, customer)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return ("slug", "clock") if obj else ()

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> list[Any]:
        return list(self.inlines) if obj else []

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "timezone":
            zones = [(zone, zone) for zone in sorted(available_timezones())]
            return forms.ChoiceField(choices=zones, widget=UnfoldAdminSelectWidget, label="Time zone", initial="UTC")
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Customer, form: Any, change: bool) -> None:
        if change:
            customers.change(obj)
        else:
            customers.create(obj)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        new = [row for row in formset.extra_forms if row.has_changed() and row not in formset.deleted_forms]
        for row in new:
            self._add_member(request, form.instance, row)
        formset.save_existing_objects()
        formset.new_objects = [row.instance for row in new]

    def _add_member(self, request: HttpRequest, customer: Customer, row: MemberForm) -> None:
        joined = people.add_member(row.cleaned_data["email"], customer, Role(row.cleaned_data["role"]))
        row.instance = joined.membership
        if joined.password:
            messages.success(
                request,
                f"{joined.membership.user} is new here. Pass on this password, which is not shown again: "
                f"{joined.password}",
            )


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    """The list of all members; it is edited on the customer's page."""

    list_display: ClassVar = ["user", "customer", "role", "created_at"]
    list_filter: ClassVar = ["customer", "role"]
    list_select_related: ClassVar = ["user", "customer"]
    search_fields: ClassVar = ["user__email", "user__first_name", "user__last_name"]
    export_columns: ClassVar = {"email": "user__email", "customer": "customer__slug", "role": "role"}


# --- Work


@admin.register(JobRun)
class JobRunAdmin(ScopedAdmin):
    """The ledger of runs: written by `jobs`, never edited here."""

    has_pages = True
    words: ClassVar = {"job": run_page.job_in_words, "stages": run_page.stages_in_words}

    list_display: ClassVar = [
        "created_at",
        "job",
        "about",
        "shown_status",
        "at_work",
        "done",
        "took",
        "error",
        "customer",
    ]
    list_filter: ClassVar = ["customer", "job", "status"]
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["job", "slot", "error"]
    date_hierarchy = "created_at"
    readonly_fields: ClassVar = ["page", "took"]
    exclude: ClassVar = ["sent_at", "heartbeat_at"]

    def page_of(self, obj: Model, customer: Customer) -> str:
        return reverse("run", args=[obj.pk])

    @display(description="status", ordering="status", label=run_page.COLOURS)
    def shown_status(self, run: JobRun) -> tuple[str, str]:
        return run.status, run.get_status_display()

    @admin.display(description="of the day", ordering="slot")
    def about(self, run: JobRun) -> str | None:
        return run_page.day_of(run) or None

    @admin.display(description="at work on")
    def at_work(self, run: JobRun) -> str | None:
        """Of a run that has ended the last stage says nothing."""
        return None if run.is_over else run.stage or None

    @admin.display(description="done", ordering="percent")
    def done(self, run: JobRun) -> str:
        return f"{run.percent} %"

    @admin.display(description="took")
    def took(self, run: JobRun) -> str | None:
        return None if run.seconds is None else f"{run.seconds:,.1f} s"

    @admin.display(description="page")
    def page(self, run: JobRun) -> str:
        return format_html('<a href="{}">Progress and result</a>', run.get_absolute_url())


# --- Programs


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """One's own tokens, and for superusers everybody's: looked at and revoked, never edited."""

    list_display: ClassVar = ["name", "prefix", "user", "created_at", "expires_at", "last_used_at", "revoked_at"]
    list_select_related: ClassVar = ["user"]
    list_per_page = 50
    show_full_result_count = False
    actions: ClassVar = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        rows = super().get_queryset(request)
        return rows if request.user.is_superuser else rows.filter(user=request.user)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.admin_site.has_permission(request)

    has_module_permission = has_view_permission

    def _never(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = _never

    @admin.action(description="Revoke the chosen tokens", permissions=["view"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiToken]) -> None:
        for token in chosen:
            tokens.revoke(token, by=cast(User, request.user))
        messages.success(request, f"{len(chosen)} revoked: they open nothing any more.")


# --- The installation


class RoleInline(TabularInline):
    """A person's roles, for superusers."""

    model = Membership
    fields: ClassVar = ["customer", "role"]
    extra = 0
    verbose_name = "role"

    def _is_superuser(self, request: HttpRequest, _obj: Model | None = None) -> bool:
        return request.user.is_superuser

    has_view_permission = has_add_permission = _is_superuser
    has_change_permission = has_delete_permission = _is_superuser


@admin.register(User)
class UserAdmin(SuperuserAdmin, StockUserAdmin):
    """A person who left is made inactive, never deleted: ledger rows say who decided what."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    inlines = (RoleInline,)
    ordering = ("email",)
    list_display = ("email", "first_name", "last_name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("email", "first_name", "last_name")
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets: ClassVar = [
        (None, {"fields": ["email", "password"]}),
        ("Name", {"fields": ["first_name", "last_name"]}),
        ("Access", {"fields": ["is_active", "is_superuser", "last_login", "date_joined"]}),
    ]
    add_fieldsets = ((None, {"fields": ["email", "usable_password", "password1", "password2"]}),)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> list[Any]:
        return list(self.inlines) if obj else []


def _replace(model: type[Model], stock: type, *look: type) -> None:
    """Registers another app's table anew, in this site's look and for superusers only."""
    admin.site.unregister(model)
    admin.site.register(model, type(f"{model.__name__}Admin", (*look, SuperuserAdmin, stock), {}))


class PeriodicTaskForm(beat.PeriodicTaskForm):
    """The stock form in this site's widgets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = UnfoldAdminSelectWidget(choices=self.fields["regtask"].choices)


class _TaskLook:
    form = PeriodicTaskForm


class _LogLook:
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


_replace(Group, GroupAdmin)
_replace(PeriodicTask, beat.PeriodicTaskAdmin, _TaskLook)
_replace(CrontabSchedule, beat.CrontabScheduleAdmin)
_replace(IntervalSchedule, beat.IntervalScheduleAdmin)
_replace(ClockedSchedule, beat.ClockedScheduleAdmin)
_replace(AccessAttempt, axes.AccessAttemptAdmin, _LogLook)
_replace(AccessFailureLog, axes.AccessFailureLogAdmin, _LogLook)
_replace(AccessLog, axes.AccessLogAdmin, _LogLook)
admin.site.unregister(SolarSchedule)  # needs a library for sunrise, and no shop opens by it
