"""What workers are told to do about notifications; each task rings for a rule that lives elsewhere."""

from celery import shared_task

from alerts import notify


@shared_task
def deliver(notification_id: int) -> None:
    """Sends one message; told twice, it is sent once."""
    notify.deliver(notification_id)


@shared_task
def sweep() -> None:
    """Tells of what is overdue and sends again what failed."""
    notify.sweep()


def send(notification_id: int) -> None:
    """Tells a worker of a message, at once or not at all: the sweep comes by every minute."""
    deliver.apply_async([notification_id], retry=False)
