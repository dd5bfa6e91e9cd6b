"""The online spine: a question in, an answer with ads out. Read `generate` from top to bottom.

It opens three kinds of short transaction (open the auction, record an impression, save the answer) and holds none, nor
a connection, while the model writes. Knows nothing of requests or of who watches: whoever does gets frames.
"""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from campaigns.models import Auction
from campaigns.serving import OpenedAuction, ServedAd, record_impression
from chat import registry
from chat.adllm.engine import Delta, Engine, EngineError, Sampling, Usage
from chat.adllm.guidance import answer_grammar, marker
from chat.adllm.markup import AdMention, Parser, Segment, Text
from chat.adllm.prompts import ad_messages
from chat.models import ModelVersion, Turn
from chat.turns import (
    CUT_OFF,
    NO_ANSWER,
    UNWATCHED,
    Frame,
    Status,
    answers_today,
    finished_turn,
    frame_of,
    in_thread,
    mark_stale_turns,
    moment,
    open_turn,
    request_stop,
    save_final,
    save_so_far,
    start_turn,
    stored_segments,
    turn_segments,
)

__all__ = ["Busy", "Frame", "answer_query", "finished_turn", "generate", "places", "start_turn", "turn_segments"]

logger = logging.getLogger(__name__)

SAVE_SECONDS = 0.5  # how often the text so far is saved, and how soon a stop is noticed
LONGEST_SECONDS = 125  # of one generation, should the engine not keep its own limit of 120

TOO_LONG = "The answer took too long and was cut off."
WENT_WRONG = "Something went wrong on our side. Please try again."

Publish = Callable[[Frame], None]


def nobody_watches(frame: Frame) -> None:
    """The frames of an answer that is only read when it is finished."""


async def generate(
    turn: Turn,
    *,
    engine: Engine | None = None,
    publish: Publish = nobody_watches,
    is_wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Answer one queued turn, once: whoever comes second finds it claimed and leaves.

    It ends in a final status whatever happens, unless the database itself is gone; `mark_stale_turns` finds it then. A
    cancelled task leaves an interrupted turn. `is_wanted` is asked twice a second and may read the database.
    """
    began = saved = time.monotonic()
    answer = _Answer(turn, publish)

    # 1) Claim the turn; freeze the candidates and their bids. The first transaction: all of it or nothing.
    try:
        opened = await in_thread(open_turn, turn)
    except Exception:
        logger.exception("turn %s: no auction could be opened", turn.pk)
        turn.auction_id = None
        await answer.end(Status.FAILED, WENT_WRONG)
        return
    if opened is None:
        return
    answer.begin(opened)

    status, error = Status.COMPLETE, ""
    try:
        # 2) The paper's prompt: the candidates with their bids, the profile, the question.
        messages = ad_messages(query=turn.query, profile=turn.profile, candidates=opened.candidates)

        # 3) One generation. Leaving this block, for whatever reason, closes the connection to the model server.
        engine = engine or registry.engine_for(turn.model_version)
        grammar = answer_grammar(map(marker, opened.candidates)) if settings.AD_LLM_GUIDED_MARKERS else ""
        events = _with_ticks(engine.stream(messages, sampling=Sampling(grammar=grammar)))
        async with asyncio.timeout(LONGEST_SECONDS), aclosing(events):
            async for event in events:
                if isinstance(event, Usage):
                    turn.prompt_tokens, turn.completion_tokens = event.prompt_tokens or None, event.completion_tokens
                    if event.finish_reason == "length":
                        status, error = Status.INTERRUPTED, CUT_OFF
                elif isinstance(event, Delta):
                    if turn.first_token_ms is None:
                        turn.first_token_ms = _milliseconds_since(began)
                    turn.text += event.text
                    # 4) Take in what is certain of it (a marker's beginning is held back) and
                    # 5) record the impression of each new ad, before 6) anybody sees its link.
                    await answer.add(answer.parser.feed(event.text))
                    answer.show()

                # 7) Every half second: save the text so far, which is also the heartbeat, and learn of a stop, or that
                # everybody has left: what nobody reads is not written on.
                if time.monotonic() - saved >= SAVE_SECONDS:
                    saved = time.monotonic()
                    if not await in_thread(save_so_far, turn, answer.stored()):
                        status = Status.STOPPED
                        break
                    if not await in_thread(is_wanted):
                        status, error = Status.INTERRUPTED, UNWATCHED
                        break
    except EngineError as failure:
        status, error = Status.INTERRUPTED, failure.user_message
        logger.warning("turn %s: %s (%r)", turn.pk, failure, failure.__cause__)
    except TimeoutError:
        status, error = Status.INTERRUPTED, TOO_LONG
    except asyncio.CancelledError:
        status, error = Status.INTERRUPTED, CUT_OFF
        raise
    except Exception:
        logger.exception("turn %s: the generation broke", turn.pk)
        status, error = Status.INTERRUPTED, WENT_WRONG
    finally:
        # 8) What was held back is plain text now. The last transaction: the answer as it stands.
        await answer.add(answer.parser.finish())
        if status != Status.STOPPED and not answer.is_visible:
            status, error = Status.FAILED, error or NO_ANSWER
        turn.duration_ms = _milliseconds_since(began)
        await answer.end(status, error)


class _Answer:
    """What has been written and shown of one turn so far."""

    def __init__(self, turn: Turn, publish: Publish) -> None:
        self._turn = turn
        self._publish = publish
        self._segments: list[Segment] = []
        self._served: dict[str, ServedAd] = {}
        self.parser = Parser(())

    def begin(self, opened: OpenedAuction) -> None:
        self.parser = Parser(opened.candidates, max_ads=settings.MAX_ADS_PER_ANSWER)
        self.show()

    async def add(self, segments: list[Segment]) -> None:
        for segment in segments:
            if isinstance(segment, AdMention):
                segment = await self._as_link(segment)
            if isinstance(segment, Text) and self._segments and isinstance(self._segments[-1], Text):
                segment = Text(self._segments.pop().text + segment.text)
            self._segments.append(segment)

    async def _as_link(self, ad: AdMention) -> Segment:
        """The ad, once its impression is committed. Where that fails its title is text: no link without a record."""
        if ad.ad_id not in self._served:
            try:
                self._served[ad.ad_id] = await in_thread(
                    record_impression,
                    auction_id=self._turn.auction_id,
                    ad_id=ad.ad_id,
                    position=len(self._served) + 1,
                    visitor_hash=self._turn.conversation.visitor_hash,
                    at=moment(self._turn),
                )
            except Exception:
                logger.exception("turn %s: no impression of %s", self._turn.pk, ad.ad_id)
                return Text(ad.title)
        return ad

    @property
    def is_visible(self) -> bool:
        return any(isinstance(segment, AdMention) or segment.text.strip() for segment in self._segments)

    def stored(self) -> list[dict]:
        return stored_segments(self._segments, self._served)

    def show(self) -> None:
        self._publish(frame_of(self._turn, self._segments, self._served))

    async def end(self, status: str, error: str) -> None:
        """Save the final state, then show it."""
        self._turn.status, self._turn.error = status, error[:300]
        self._turn.segments = self.stored()
        self._turn.format_errors = {str(kind): count for kind, count in self.parser.errors.items()}
        await in_thread(save_final, self._turn)
        self.show()


async def _with_ticks(events: AsyncIterator[Delta | Usage]) -> AsyncGenerator[Delta | Usage | None, None]:
    """The events as they come, and None whenever SAVE_SECONDS pass without one."""
    pending = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({pending}, timeout=SAVE_SECONDS)
            if not done:
                yield None
                continue
            pending = None
            try:
                event = done.pop().result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        if pending:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await events.aclose()


def _milliseconds_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


# --- for callers that can wait ---


class Busy(Exception):
    """As many generations as the model server shall take, as one visitor may have, or as a day may see."""


class Places:
    """This process's places for generations, AD_LLM_CONCURRENCY of them; and of all processes, ANSWERS_PER_DAY."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0

    def take(self) -> None:
        if answers_today(now=timezone.now()) >= settings.ANSWERS_PER_DAY:
            raise Busy("All the answers of this day are written. Please come back tomorrow.")
        with self._lock:
            if self.taken >= settings.AD_LLM_CONCURRENCY:
                raise Busy("Many questions are being answered right now. Please try again in a moment.")
            self.taken += 1

    def give_back(self) -> None:
        with self._lock:
            self.taken -= 1


places = Places()


def answer_query(
    *,
    query: str,
    profile: str = "",
    visitor_hash: str = "",
    origin: str = Auction.Origin.LIVE,
    engine: Engine | None = None,
    model_version: ModelVersion | None = None,
    at: datetime | None = None,
    idempotency_key: str | None = None,
    publish: Publish = nobody_watches,
    hung_up: Callable[[], bool] = lambda: False,
) -> Turn:
    """The finished turn, for the API, commands and simulated visitors. Raises InvalidInput and Busy.

    `hung_up` is asked twice a second; who asked and hung up stops the answer, as a visitor does.
    """
    places.take()
    try:
        turn = start_turn(
            visitor_hash=visitor_hash,
            query=query,
            profile=profile,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            origin=origin,
            model_version=model_version,
            at=at,
        )
        goes_on = generate(
            turn, engine=engine, publish=publish, is_wanted=lambda: not hung_up() or request_stop(turn.pk)
        )
        asyncio.run(goes_on)
    finally:
        places.give_back()
    turn.refresh_from_db()
    while turn.status not in Turn.FINAL:  # the same key came twice, and the first one is still being answered
        time.sleep(SAVE_SECONDS)
        mark_stale_turns(now=timezone.now())
        turn.refresh_from_db()
    return turn
