"""The market's background work. Each task fetches, makes one call, and says how it went."""

import logging

from celery import shared_task

from campaigns import books

log = logging.getLogger(__name__)


@shared_task
def check_books() -> int:
    """Every few minutes: proves the ledger; the number of violations, each logged as critical."""
    violations = books.check_books()
    for violation in violations:
        log.critical("%s", violation)
    return len(violations)
