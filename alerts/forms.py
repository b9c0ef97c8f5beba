"""What people are asked before an alert is decided, and before messages go to a channel."""

from typing import Any, ClassVar

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from alerts import channels
from alerts.models import MLAlert, NotificationChannel
from shelfops.refusals import Refusal


class NotesForm(forms.Form):
    """Why the alert is approved or dismissed."""

    notes = forms.CharField(
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"autofocus": True, "rows": 4}),
        help_text="Kept with the alert, such as: reviewed the backtest, better in every department.",
    )


class ChannelForm(forms.ModelForm):
    """The address is asked for and never shown again: it holds passwords."""

    address = forms.CharField(max_length=1000, widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}))
    types = forms.MultipleChoiceField(
        choices=MLAlert.Type.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Only alerts of these types are sent. Tick none for all.",
    )

    class Meta:
        model = NotificationChannel
        fields: ClassVar = ["customer", "name", "address", "min_severity", "types", "enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "address" not in self.fields:  # whoever may only look
            return
        field = self.fields["address"]
        field.help_text = (
            "E-mail: mailtos://user:password@mail.example.com?to=team@example.com. "
            "Webhook: jsons://hooks.example.com/path. It is not shown again after it is saved."
        )
        if self.instance.pk:
            field.required = False
            field.help_text = f"Now: {self.instance.target}. Leave it empty to keep that. {field.help_text}"

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"]
        if address:
            try:
                channels.connect(address)
            except Refusal as refusal:
                raise forms.ValidationError(str(refusal)) from refusal
        return address

    def save(self, commit: bool = True) -> NotificationChannel:
        if self.cleaned_data["address"]:
            self.instance.url = self.cleaned_data["address"]
        return super().save(commit)
