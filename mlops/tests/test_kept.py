"""An answer is worked out once for all that read it, and again when what it was made of has changed."""

import datetime as dt

import pytest
from django.core.cache import cache

from mlops.kept import Question
from mlops.models import KeptAnswer

pytestmark = pytest.mark.django_db


@pytest.fixture
def asking():
    """Makes the question of this customer, and counts in `asking.times` how often it is worked out."""

    def ask(customer, *made_of, name="advice"):
        return Question(customer, name, made_of, lambda: ask.times.append(1) or {"time": len(ask.times)})

    ask.times = []
    return ask


def test_a_page_only_reads_what_was_prepared(acme, asking):
    assert asking(acme, 1).prepare()
    cache.clear()
    assert (asking(acme, 1).answer(), len(asking.times)) == ({"time": 1}, 1)


def test_what_is_prepared_is_not_prepared_again(acme, asking):
    assert [asking(acme, 1).prepare(), asking(acme, 1).prepare()] == [True, False]


def test_of_something_else_it_is_no_answer(acme, asking):
    asking(acme, 1).prepare()
    assert [asking(acme, 2).answer(), asking(acme, 1).answer()] == [{"time": 2}, {"time": 1}]
    assert asking(acme, 2).prepare()
    assert KeptAnswer.objects.get().answer == {"time": 3}


def test_what_nobody_has_prepared_is_worked_out_once_in_a_process_and_not_written(acme, asking):
    assert [asking(acme, 1).answer(), asking(acme, 1).answer()] == [{"time": 1}] * 2
    assert not KeptAnswer.objects.exists()


def test_each_customer_and_each_name_has_its_own(acme, globex, asking):
    questions = [asking(acme), asking(globex), asking(acme, name="clusters")]
    assert [question.prepare() for question in questions] == [True] * 3
    assert [question.answer()["time"] for question in questions] == [1, 2, 3]


@pytest.mark.parametrize("is_prepared", [True, False])
def test_prepared_or_not_it_reads_alike(acme, is_prepared):
    question = Question(acme, "days", (), lambda: {"day": dt.date(2026, 3, 2), 2: [None, 0.5]})
    if is_prepared:
        question.prepare()
    assert question.answer() == {"day": "2026-03-02", "2": [None, 0.5]}
