"""The ASGI entry: `uvicorn auction_site.asgi:application`. At the end of the process, answers being written are cut off
and marked so, instead of being found stale later."""

import asyncio
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "auction_site.settings")
_django = get_asgi_application()

from chat import streams  # noqa: E402  (needs the apps that the line above loads)


async def application(scope, receive, send) -> None:
    if scope["type"] != "lifespan":
        await _django(scope, receive, send)
        return
    while True:
        event = (await receive())["type"]
        if event == "lifespan.shutdown":
            await asyncio.to_thread(streams.shutdown)
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
