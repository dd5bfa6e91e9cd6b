"""What the market asks of a Celery worker. Each task is one call."""

import logging

from celery import shared_task

from campaigns import books

logger = logging.getLogger(__name__)


@shared_task
def check_books() -> None:
    for violation in books.check_books():
        logger.critical("The books do not hold: %s", violation)
