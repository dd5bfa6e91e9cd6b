"""Visitors by the thousand for the benchmark: links, and two ways to follow them as fast as the site allows."""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import md5, sha256

from django.db import InterfaceError, OperationalError, connection, connections

from campaigns import billing, charging, tokens, visitors

CAMPAIGNS = 1000  # clicks spread over them; those on one campaign take turns at its row
CLICKS_PER_VISITOR = 10
FIRST_GUESS = 6000  # clicks per second, until something was measured

# Link number i belongs to visitor i / 10 and to ad i % 1000; its token id and its visitor's follow from its number.
_VISITOR_ID = f"md5('visitor' || i / {CLICKS_PER_VISITOR})"
_VISITOR_HASH = f"encode(sha256(convert_to({_VISITOR_ID}, 'UTF8')), 'hex')"
STATEMENT = f"""
SELECT click.outcome, click.landing_url, click.charged_micros
FROM nextval('benchmark_link') AS i, LATERAL campaigns_record_click(
    md5('link' || i), {_VISITOR_HASH}, {_VISITOR_HASH}, NULL, NULL,
    {charging.VISITOR_LIMIT}, {charging.VISITOR_AD_LIMIT}, {charging.NETWORK_LIMIT}, {charging.NETWORK_AD_LIMIT}
) AS click;
"""
_MARKET = f"""
CREATE SEQUENCE benchmark_link MINVALUE 0;
INSERT INTO campaigns_advertiser (id, name, slug, time_zone, status)
    SELECT i, 'Shop ' || i, 'shop-' || i, 'UTC', 'active' FROM generate_series(1, {CAMPAIGNS}) i;
INSERT INTO campaigns_account (kind, advertiser_id, balance_micros)
    SELECT 'wallet', i, 1000000000 FROM generate_series(1, {CAMPAIGNS}) i;
INSERT INTO campaigns_transfer (kind, debit_id, credit_id, amount_micros, external_ref, note)
    SELECT 'deposit', c.id, w.id, w.balance_micros, 'in' || w.id, ''
    FROM campaigns_account c, campaigns_account w WHERE c.kind = 'clearing' AND w.kind = 'wallet';
INSERT INTO campaigns_campaign (id, advertiser_id, name, status, total_budget_micros, spent_micros,
        daily_budget_micros, day_spent_micros)
    SELECT i, i, 'Spring', 'active', 1000000000, 0, 1000000000, 0 FROM generate_series(1, {CAMPAIGNS}) i;
INSERT INTO campaigns_ad (id, public_id, campaign_id, title, title_skeleton, landing_url, description, category,
        review_state, review_reason, status)
    SELECT i, 'Ad-' || 10000 + i, i, 'Thing ' || i, 'thing ' || i, 'https://shop.example/' || i, '', 'coffee',
        'approved', '', 'active'
    FROM generate_series(1, {CAMPAIGNS}) i;
ANALYZE;
"""
_LINKS = f"""
INSERT INTO campaigns_auction (id, model_version, origin, visitor_hash)
    SELECT md5('auction' || a)::uuid, 'benchmark', 'live', '' FROM generate_series(%(first)s, %(last)s) a;
INSERT INTO campaigns_auctioncandidate (auction_id, ad_id, bid_micros, title)
    SELECT md5('auction' || a)::uuid, ad.id, 5, ad.title
    FROM generate_series(%(first)s, %(last)s) a, campaigns_ad ad;
INSERT INTO campaigns_impression (candidate_id, position, token_id, visitor_hash, expires_at)
    SELECT k.id, 1, md5('link' || i), {_VISITOR_HASH}, now() + interval '1 day'
    FROM generate_series(%(first)s, %(last)s) a
    JOIN campaigns_auctioncandidate k ON k.auction_id = md5('auction' || a)::uuid,
    LATERAL (SELECT a * {CAMPAIGNS} + k.ad_id - 1 AS i) number;
"""


@dataclass
class Load:
    """What one measurement did."""

    rate: float = 0.0  # clicks that were billed and answered, per second
    waits: list[float] = field(default_factory=list)  # seconds
    failures: Counter[str] = field(default_factory=Counter)


class Links:
    """Served links, numbered, each to be followed once; more are made when a measurement may need them."""

    def __init__(self) -> None:
        self.used, self.made, self.fastest = 0, 0, FIRST_GUESS
        self._run(_MARKET)

    def _run(self, script: str, **values) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            for statement in script.split(";\n"):
                if statement.strip():
                    cursor.execute(statement, values or None)

    def _stock(self, seconds: float) -> int:
        """Makes sure of enough links for this long; returns how many."""
        wanted = int(self.fastest * 1.5 * max(seconds, 1)) + 1000
        missing = self.used + wanted - self.made
        if missing > 0:
            auctions = missing // CAMPAIGNS + 1
            first = self.made // CAMPAIGNS
            self._run(_LINKS, first=first, last=first + auctions - 1)
            self.made += auctions * CAMPAIGNS
            self._run("CHECKPOINT")  # not during the measurement
        self._run("ANALYZE")  # as autovacuum would have done by now, had these tables grown at the usual pace
        return wanted

    def take(self, *, seconds: float) -> list[tuple[str, str]]:
        """(token id, visitor id) of links for a measurement; give back what was not used."""
        first = self.used
        numbers = range(first, first + self._stock(seconds))
        self.used = numbers.stop
        return [(_md5(f"link{i}"), _md5(f"visitor{i // CLICKS_PER_VISITOR}")) for i in numbers]

    def give_back(self, unused: int, *, rate: float) -> None:
        self.used -= unused
        self.fastest = max(self.fastest, rate)

    def hand_to_pgbench(self, *, seconds: float) -> None:
        self._stock(seconds)
        self._run(f"ALTER SEQUENCE benchmark_link RESTART WITH {self.used}")

    def take_back_from_pgbench(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT last_value + 1 FROM benchmark_link")
            self.used = cursor.fetchone()[0]
        if self.used > self.made:
            raise RuntimeError("pgbench was faster than expected: it ran out of links; measure for fewer seconds")


def through_the_service(links: Links, *, clients: int, seconds: float) -> Load:
    """record_click from this many threads."""
    waiting = [
        (tokens.sign(token_id), sha256(visitor_id.encode()).hexdigest())
        for token_id, visitor_id in links.take(seconds=seconds)
    ]
    waiting.reverse()  # list.pop() hands them out in order, to one thread each
    connection.close()  # the threads need the whole pool
    load, billed = Load(), []
    deadline = time.perf_counter() + seconds

    def follow() -> None:
        done = 0
        while time.perf_counter() < deadline and waiting:
            token, visitor = waiting.pop()
            try:
                outcome = billing.record_click(token=token, visitor_hash=visitor, network_hash=visitor).outcome
            except (OperationalError, InterfaceError, billing.InvalidToken) as error:
                outcome = type(error).__name__
            if outcome == billing.BILLED:
                done += 1
            else:
                load.failures[outcome] += 1
        billed.append(done)
        connections.close_all()

    began = time.perf_counter()
    threads = [threading.Thread(target=follow) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.rate = sum(billed) / (time.perf_counter() - began)
    links.give_back(len(waiting), rate=load.rate)
    return load


def through_http(links: Links, *, port: int, clients: int, seconds: float) -> Load:
    """GET /c/<token> as browsers send it, over this many connections that stay open."""
    requests = [
        (
            f"GET /c/{tokens.sign(token_id)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0\r\n"
            "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en\r\n"
            "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n"
            f"X-Forwarded-For: {_address(visitor_id)}\r\n"
            f"Cookie: {visitors.COOKIE}={visitors.cookie_for(visitor_id)}\r\n\r\n"
        ).encode()
        for token_id, visitor_id in links.take(seconds=seconds)
    ]
    requests.reverse()
    load = Load()

    async def drive() -> float:
        deadline = time.perf_counter() + seconds
        loop, everybody_done = asyncio.get_running_loop(), []
        began = time.perf_counter()
        for _ in range(clients):
            done = loop.create_future()
            everybody_done.append(done)
            await loop.create_connection(lambda done=done: _Visitor(requests, load, deadline, done), "127.0.0.1", port)
        await asyncio.gather(*everybody_done)
        return time.perf_counter() - began

    took = asyncio.run(drive())
    load.rate = len(load.waits) / took
    links.give_back(len(requests), rate=load.rate)
    return load


class _Visitor(asyncio.Protocol):
    """One open connection: a request, its answer, the next request, until the time is over."""

    def __init__(self, requests: list[bytes], load: Load, deadline: float, done: asyncio.Future) -> None:
        self.requests, self.load, self.deadline, self.done = requests, load, deadline, done
        self.received = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        if not self.requests or time.perf_counter() >= self.deadline:
            self.transport.close()
            return
        self.asked = time.perf_counter()
        self.transport.write(self.requests.pop())

    def data_received(self, data: bytes) -> None:
        self.received += data
        if b"\r\n\r\n" not in self.received:
            return
        if self.received.startswith(b"HTTP/1.1 302 ") and b"\r\nlocation: https://shop.example/" in self.received:
            self.load.waits.append(time.perf_counter() - self.asked)
            self.received = b""
            self._ask()
        else:  # its body is of no interest: the connection ends here
            self.load.failures[f"HTTP {self.received[9:12].decode()}"] += 1
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _address(visitor_id: str) -> str:
    """A public address in a network of the visitor's own."""
    return f"8.{int(visitor_id[:2], 16)}.{int(visitor_id[2:4], 16)}.{1 + int(visitor_id[4:6], 16) % 250}"
