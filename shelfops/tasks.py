"""What workers are told to do; each task rings for a rule that lives elsewhere."""

from celery import shared_task

from forecasting.prepared import prepare
from shelfops import jobs, schedules
from shelfops.models import Customer
from shelfops.rest import replay


@shared_task(acks_late=True)
def perform_run(run_id: int) -> None:
    """Does a run that was asked for; told twice, it is done once. Then pages need not work out what it has changed."""
    run = jobs.perform(run_id)
    if run.is_over:  # while others are at work, the next of their rows would overtake it
        prepare(run.customer)


@shared_task
def due(customer_id: str, job: str) -> None:
    """Beat says that a line of the customer's timetable is due."""
    schedules.ask(Customer.objects.get(pk=customer_id), job)


@shared_task
def prepare_pages() -> None:
    """Works out what pages ask, where a load, an edit, a decision or midnight has overtaken it."""
    for customer in Customer.objects.order_by("pk"):
        prepare(customer)


@shared_task
def sweep() -> None:
    """Mends what processes that died, or a broker that was down, have left behind."""
    jobs.sweep()
    schedules.catch_up()
    replay.forget_expired()


def send(run_id: int) -> None:
    """Tells a worker of a run, at once or not at all: the sweeper tries again later."""
    perform_run.apply_async([run_id], retry=False)
