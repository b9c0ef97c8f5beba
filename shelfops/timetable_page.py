"""The customer's form for its timetable: when each job is done, and when that is next."""

import datetime as dt
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTimeWidget, UnfoldBooleanSwitchWidget

from shelfops import schedules, tenancy
from shelfops.models import Customer, User
from shelfops.tenancy import Action

EVERY_DAY = ""
DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]


class LineForm(forms.Form):
    """When one job is done, in the customer's time zone."""

    enabled = forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget)
    weekday = forms.ChoiceField(
        label="Day",
        required=False,
        choices=[(EVERY_DAY, "Every day"), *((str(number), day) for number, day in enumerate(DAYS))],
        widget=UnfoldAdminSelectWidget,
    )
    at = forms.TimeField(label="Time", widget=UnfoldAdminTimeWidget(format="%H:%M"))

    def clean_at(self) -> dt.time:
        at: dt.time = self.cleaned_data["at"]
        if at.second:
            raise forms.ValidationError("Name hours and minutes only, such as 02:00.")
        return at

    def plan(self) -> dict[str, Any]:
        """As `schedules.change` wants it."""
        weekday = self.cleaned_data["weekday"]
        return {
            "enabled": self.cleaned_data["enabled"],
            "weekday": None if weekday == EVERY_DAY else int(weekday),
            "at": self.cleaned_data["at"],
        }


def show(model_admin: ModelAdmin, request: HttpRequest, customer: Customer) -> HttpResponse:
    """Everybody at the customer sees the timetable; who may manage it changes it here."""
    user = cast(User, request.user)
    forms_by_job = {line.job: _form(customer, line, request) for line in schedules.TIMETABLE}
    if request.method == "POST":
        tenancy.require(user, customer, Action.MANAGE)
        if all(form.is_valid() for form in forms_by_job.values()):
            _save(customer, forms_by_job)
            messages.success(request, "The timetable is saved; the scheduler follows it within seconds.")
            return redirect(request.path)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Timetable of {customer}",
        "opts": model_admin.opts,
        "customer": customer,
        "lines": [_shown(customer, line, forms_by_job[line.job]) for line in schedules.TIMETABLE],
        "may_change": tenancy.allowed(user, customer, Action.MANAGE),
    }
    return TemplateResponse(request, "admin/timetable.html", context)


@transaction.atomic
def _save(customer: Customer, forms_by_job: dict[str, LineForm]) -> None:
    for job, form in forms_by_job.items():
        schedules.change(customer, job, **form.plan())


def _form(customer: Customer, line: schedules.Line, request: HttpRequest) -> LineForm:
    existing = schedules.lines_of(customer).get(line.job)
    weekday, at = schedules.when(existing) if existing else (line.weekday, line.at)
    initial = {
        "enabled": bool(existing and existing.enabled),
        "weekday": EVERY_DAY if weekday is None else str(weekday),
        "at": at,
    }
    return LineForm(request.POST if request.method == "POST" else None, initial=initial, prefix=line.job)


def _shown(customer: Customer, line: schedules.Line, form: LineForm) -> dict[str, Any]:
    existing = schedules.lines_of(customer).get(line.job)
    coming = []
    if existing and existing.enabled:
        coming = schedules.next_dues(existing.crontab.schedule, timezone.now())
    return {"title": line.title, "form": form, "coming": [f"{due:%A, %Y-%m-%d %H:%M %Z}" for due in coming]}
