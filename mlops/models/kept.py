"""What took long to work out from a customer's rows, kept for the pages that show it."""

from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from shelfops.models import Customer


class KeptAnswer(models.Model):
    """The last answer of its name, and a digest of what it was made of: of anything else it is no answer."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=200)
    made_of = models.CharField(max_length=64)
    answer = models.JSONField(encoder=DjangoJSONEncoder)
    made_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "kept_answers"
        constraints: ClassVar = [models.UniqueConstraint(fields=["customer", "name"], name="one_answer_of_a_name")]

    def __str__(self) -> str:
        return self.name
