"""Is the process alive, and can it serve? For load balancers and supervisors; public, so silent about hosts."""

import asyncio
import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat import registry

logger = logging.getLogger(__name__)
LIMIT_S = 1.0  # for each part; they are asked side by side
_pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="readyz")


def database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@cache  # once a database is migrated for this code, it stays so
def migrations() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise RuntimeError("there are migrations to apply")


def model_server() -> None:
    if not asyncio.run(registry.engine_for(registry.live()).healthy()):
        raise RuntimeError("the model server does not answer")


def broker() -> None:
    if settings.CELERY_BROKER_URL == "filesystem://":
        tempfile.TemporaryFile(dir=settings.VAR_DIR / "broker").close()
        return
    from kombu import Connection

    with Connection(settings.CELERY_BROKER_URL, connect_timeout=LIMIT_S) as broker_connection:
        broker_connection.ensure_connection(max_retries=1, timeout=LIMIT_S)


PARTS: tuple[Callable[[], None], ...] = (database, migrations, model_server, broker)


def _try(part: Callable[[], None]) -> str:
    try:
        part()
    except Exception as error:
        logger.warning("not ready: %s: %s", part.__name__, error)
        return "failed"
    finally:
        connection.close()  # this thread's own
    return "ok"


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    asked = {part.__name__: _pool.submit(_try, part) for part in PARTS}
    wait(asked.values(), timeout=LIMIT_S)
    parts = {name: future.result() if future.done() else "no answer in time" for name, future in asked.items()}
    ready = all(state == "ok" for state in parts.values())
    return JsonResponse({"ready": ready, "parts": parts}, status=200 if ready else 503)


urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
]
