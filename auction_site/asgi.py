"""The ASGI entry: `uvicorn auction_site.asgi:application`.

With the process begins the loading of the model client; with its end, answers being written are cut off and marked so,
instead of being found stale later.
"""

import asyncio
import os
import threading

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "auction_site.settings")
_django = get_asgi_application()

from campaigns import click_lane  # noqa: E402  (they need the apps that the line above loads)
from chat import registry, streams  # noqa: E402


async def application(scope, receive, send) -> None:
    if scope["type"] != "lifespan":
        if not await click_lane.take(scope, send):
            await _django(scope, receive, send)
        return
    while True:
        event = (await receive())["type"]
        if event == "lifespan.startup":
            threading.Thread(target=registry.warm_up, daemon=True).start()
        else:
            await asyncio.to_thread(streams.shutdown)
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
