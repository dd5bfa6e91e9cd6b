"""Where generations run and how pages follow them: one background thread with its own event loop per process.

A generation outlives the request that asked for it, but not its readers: a while after the last one has left, a closed
browser or a lost one, it ends. Every process can follow any turn: its own from memory, another process's by reading the
turn's row. Knows nothing of HTTP, nor of what an answer is made of.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import aclosing
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from chat.adllm.engine import Engine
from chat.answering import Busy, generate, places
from chat.models import Turn
from chat.turns import (
    STALE_AFTER,
    Frame,
    in_thread,
    is_watched,
    mark_stale_turns,
    request_stop,
    stored_frame,
    watch_until,
)

__all__ = ["Busy", "Frame", "follow", "keep_for_a_page_without_script", "shutdown", "start", "stop"]

logger = logging.getLogger(__name__)

FRAME_SECONDS = 0.08  # a reader gets at most one frame in this time, always the latest
POLL_SECONDS = 0.4  # between two looks at a turn that another process answers
KEEP_SECONDS = 60  # a finished answer stays in memory for readers who come a little late
MOST_PER_VISITOR = 2  # generations at a time
ABANDONED_AFTER = timedelta(seconds=20)  # without a reader; a browser that lost its connection is back in 3
LOOKS_AGAIN_WITHIN = timedelta(seconds=120)  # a page without script, which is loaded anew to read on


class _Stream:
    """The latest frame of one generation in this process, and the readers who wait for the next."""

    def __init__(self) -> None:
        self.frame = Frame(0, (), {}, Turn.Status.QUEUED)
        self.generation: Future | None = None  # held here so that it is not collected while it runs
        self._seen_at = timezone.now()  # a reader
        self._readers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def publish(self, frame: Frame) -> None:
        self.frame = frame
        self.wake()

    def wake(self) -> None:
        for loop, news in tuple(self._readers):
            try:
                loop.call_soon_threadsafe(news.set)
            except RuntimeError:  # the reader's loop has ended without saying good-bye
                self._readers.discard((loop, news))

    def is_wanted(self, turn_id: UUID) -> bool:
        """Is somebody reading, here or elsewhere, or likely to come back?"""
        now = timezone.now()
        if self._readers:
            self._seen_at = now
        return now - self._seen_at < ABANDONED_AFTER or is_watched(turn_id, now=now)

    async def frames(self) -> AsyncGenerator[Frame]:
        """Each frame that is the latest when the reader asks for one, until this stream is forgotten or at its end."""
        news = asyncio.Event()
        reader = (asyncio.get_running_loop(), news)
        self._readers.add(reader)
        try:
            while True:
                news.clear()
                frame = self.frame
                yield frame
                if frame.is_final or self not in _streams.values():
                    return
                await news.wait()
        finally:
            self._readers.discard(reader)


_streams: dict[UUID, _Stream] = {}
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def start(turn_id: UUID, *, engine: Engine | None = None) -> None:
    """Hand a queued turn to the generation loop and return at once. Harmless when repeated.

    Raises Busy when there is no place; the turn then stays queued and may be started again. Call it once the turn is
    committed.
    """
    if turn_id in _streams:
        return
    _refuse_a_crowd(turn_id)
    with _lock:
        if turn_id in _streams:
            return
        places.take()
        stream = _streams[turn_id] = _Stream()
        stream.generation = asyncio.run_coroutine_threadsafe(_run(turn_id, stream, engine), _running_loop())


def stop(turn_id: UUID) -> bool:
    """The visitor wants no more. Noticed within half a second by whichever process answers; False if it has ended."""
    return request_stop(turn_id)


def keep_for_a_page_without_script(turn_id: UUID) -> None:
    """Such a page shows no stream; it is read when it is loaded again."""
    watch_until(turn_id, timezone.now() + LOOKS_AGAIN_WITHIN)


async def follow(turn_id: UUID, after: int = 0) -> AsyncGenerator[Frame]:
    """The turn's frames: the first at once, then at most one in FRAME_SECONDS, the last with a final status.

    `after` is the seq a reader has seen already: what is not newer is left out, but for the end. Never generates.
    """
    seen = after or -1
    while True:
        stream = _streams.get(turn_id)
        async with aclosing(stream.frames() if stream else _stored_frames(turn_id)) as frames:
            async for frame in frames:
                if frame.seq > seen or frame.is_final:
                    yield frame
                    seen = frame.seq
                    if frame.is_final:
                        return
                    await asyncio.sleep(FRAME_SECONDS)


def shutdown() -> None:
    """Cut what is still being written, marked as interrupted, and end the thread. For the end of the process."""
    global _loop, _thread
    with _lock:
        loop, thread, _loop, _thread = _loop, _thread, None, None
    if loop and thread:
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _run(turn_id: UUID, stream: _Stream, engine: Engine | None) -> None:
    try:
        turn = await in_thread(Turn.objects.get, pk=turn_id)
        await generate(turn, engine=engine, publish=stream.publish, is_wanted=lambda: stream.is_wanted(turn_id))
    except Exception:
        logger.exception("turn %s could not be answered", turn_id)
    finally:
        places.give_back()
        if stream.frame.is_final:
            asyncio.get_running_loop().call_later(KEEP_SECONDS, _forget, turn_id)
        else:  # another process answers it: let the readers follow its row
            _forget(turn_id)
            stream.wake()


def _forget(turn_id: UUID) -> None:
    _streams.pop(turn_id, None)


async def _stored_frames(turn_id: UUID) -> AsyncGenerator[Frame]:
    """The turn as its row shows it, until this process holds a stream of it. Tells the writer that it is read."""
    tell_at = timezone.now()
    while turn_id not in _streams:
        now = timezone.now()
        yield await in_thread(_read, turn_id, now)
        if now >= tell_at:
            await in_thread(watch_until, turn_id, now + ABANDONED_AFTER)
            tell_at = now + ABANDONED_AFTER / 4
        await asyncio.sleep(POLL_SECONDS)


def _read(turn_id: UUID, now: datetime) -> Frame:
    turn = Turn.objects.get(pk=turn_id)
    if turn.status not in Turn.FINAL and turn.updated_at < now - STALE_AFTER:
        mark_stale_turns(now=now)
        turn.refresh_from_db()
    return stored_frame(turn)


def _refuse_a_crowd(turn_id: UUID) -> None:
    """One visitor may not take the places of all."""
    visitor_hash = Turn.objects.values_list("conversation__visitor_hash", flat=True).get(pk=turn_id)
    running = Turn.objects.filter(
        conversation__visitor_hash=visitor_hash,
        status=Turn.Status.STREAMING,
        updated_at__gt=timezone.now() - STALE_AFTER,
    )
    if visitor_hash and running.exclude(pk=turn_id).count() >= MOST_PER_VISITOR:
        raise Busy("Your other questions are still being answered. Please wait for one of them, or stop it.")


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _thread
    if _loop is None:
        _loop = asyncio.new_event_loop()
        _thread = threading.Thread(target=_loop.run_forever, name="generations", daemon=True)
        _thread.start()
    return _loop


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
