"""The Celery app: `celery -A auction_site worker`. Tasks live in each app's tasks.py."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "auction_site.settings")
app = Celery("auction_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
