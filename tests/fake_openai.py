"""An OpenAI-compatible model server that misbehaves on request: a small ASGI app on uvicorn, in a thread of its own.

    with FakeOpenAI() as fake:
        fake.plan = Plan(text="Try @Mug@[Ad-7].", fault="stall", fault_after=2)
        OpenAIEngine(base_url=fake.base_url, model="fake") ...
        assert fake.generations == 1 and fake.closed_by_client == 1

It knows nothing of ads: a test scripts what the model "says". The plan that stands when a request comes is its plan.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import uvicorn

Fault = Literal[
    "",
    "stall",  # says no more, keeps the connection
    "close",  # cuts the connection
    "end",  # ends the stream in order, but with no finish reason
    "error",  # tells of an error inside the stream, as vLLM does
    "abort",  # finishes with the reason "abort"
    "garbage",  # an event that is no JSON
    "no_choices",  # JSON, but no chunk
    "number",  # a chunk whose content is a number
    "bad_utf8",  # bytes that are no UTF-8, split over two packets
    "html",  # a proxy's error page with status 200
]


@dataclass(frozen=True)
class Plan:
    """How to answer. `fault` strikes after `fault_after` pieces; `status` other than 200 refuses before anything."""

    text: str = "Water the balcony early."
    piece: int = 4
    status: int = 200
    first_delay: float = 0.0
    delay: float = 0.0
    fault: Fault = ""
    fault_after: int = 0
    endless: bool = False  # says the text for ever, whatever max_tokens says
    echo: bool = False  # says the prompt instead of the text
    bytewise: bool = False  # sends every byte in a packet of its own
    finish_reason: str = "stop"
    usage: Literal["alone", "with finish", "never"] = "alone"  # vLLM, transformers serve, others
    done: bool = True  # ends with [DONE]


class _Gone(Exception):
    """The client closed the connection."""


class _Cut(Exception):
    """Raised out of the app, so that uvicorn drops the connection in the middle of the body."""


class FakeOpenAI:
    def __init__(self, *, plan: Plan = Plan(), port: int = 0, takes_top_k: bool = True, health: int = 200) -> None:
        self.plan = plan
        self.takes_top_k = takes_top_k
        self.takes_grammar = True
        self.takes_n: bool | None = True  # False: refuses it; None: ignores it
        self.takes_response_format = True
        self.health = health
        self.models = 200
        self.health_delay = 0.0
        self.requests: list[dict[str, Any]] = []  # bodies of all requests to generate, refused ones too
        self.generations = 0
        self.open_streams = 0
        self.closed_by_client = 0
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> "FakeOpenAI":
        self._socket.listen(64)  # from here on a client waits rather than being refused
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/health":
            await asyncio.sleep(self.health_delay)
            await _reply(send, self.health, {})
        elif path == "/v1/models":
            await _reply(send, self.models, {"object": "list", "data": [{"id": "fake", "object": "model"}]})
        elif path == "/v1/chat/completions":
            await self._complete(await _body(receive), receive, send)
        else:
            await _reply(send, 404, {"detail": "Not Found"})

    async def _complete(self, asked: dict[str, Any], receive: Any, send: Any) -> None:
        plan = self.plan
        self.requests.append(asked)
        unknown = {"top_k": self.takes_top_k, "structured_outputs": self.takes_grammar}
        if unexpected := {name for name, taken in unknown.items() if name in asked and not taken}:
            return await _reply(send, 422, {"detail": f"Unexpected fields in the request: {unexpected}"})
        if "response_format" in asked and not self.takes_response_format:
            return await _reply(send, 422, {"detail": "Unexpected fields in the request: {'response_format'}"})
        if "n" in asked and self.takes_n is False:
            return await _reply(send, 400, {"error": {"message": "Unsupported parameter: 'n'"}})
        if plan.status != 200:
            return await _reply(send, plan.status, {"error": {"message": f"refused with {plan.status}"}})
        self.generations += 1
        if not asked.get("stream"):
            await asyncio.sleep(plan.first_delay)
            return await _reply(
                send, 200, "<html>" if plan.fault == "html" else _completion(plan, asked, many=self.takes_n)
            )
        self.open_streams += 1
        gone = asyncio.ensure_future(receive())
        try:
            await _head(send, 200, b"text/html" if plan.fault == "html" else b"text/event-stream")
            async for packet in self._packets(plan, asked, gone):
                await send({"type": "http.response.body", "body": packet, "more_body": True})
                if gone.done():
                    raise _Gone
            await send({"type": "http.response.body", "body": b""})
        except _Gone:
            self.closed_by_client += 1
        finally:
            gone.cancel()
            self.open_streams -= 1

    async def _packets(self, plan: Plan, asked: dict[str, Any], gone: asyncio.Future) -> AsyncIterator[bytes]:
        async def pause(seconds: float) -> None:
            await asyncio.wait({gone}, timeout=seconds)
            if gone.done():
                raise _Gone

        await pause(plan.first_delay)
        yield _event({"role": "assistant", "content": ""})
        for number, piece in enumerate(_pieces(plan, asked)):
            if plan.fault and number >= plan.fault_after:
                break
            await pause(plan.delay)
            packet = _event({"content": piece})
            for byte in packet if plan.bytewise else ():
                yield bytes([byte])
            if not plan.bytewise:
                yield packet
        match plan.fault:
            case "stall":
                await pause(3600)
            case "close":
                await pause(0.05)  # let what was said arrive
                raise _Cut
            case "error":
                yield b'data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n'
            case "garbage":
                yield b"data: {not json\n\n"
            case "no_choices":
                yield b'data: {"hello": "world"}\n\n'
            case "number":
                yield _event({"content": 7})
            case "bad_utf8":
                yield b'data: {"choices": [{"index": 0, "delta": {"content": "\xe2\x82'
                await pause(0.02)
                yield b'\xff\xfe"}}]}\n\n'
            case "html":
                yield b"<html><body>502 Bad Gateway</body></html>"
            case "abort":
                yield _event({}, finish_reason="abort")
            case "":
                usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
                together = {"usage": usage} if plan.usage == "with finish" else {}
                yield _event({}, finish_reason=plan.finish_reason, **together)
                if plan.usage == "alone":
                    yield _event(None, usage=usage)
                if plan.done:
                    yield b"data: [DONE]\n\n"


def free_port() -> int:
    """A port that refuses connections, for the moment."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _text(plan: Plan, asked: dict[str, Any]) -> str:
    return "".join(message["content"] for message in asked["messages"]) if plan.echo else plan.text


def _pieces(plan: Plan, asked: dict[str, Any]):
    text = _text(plan, asked)
    while True:
        yield from (text[at : at + plan.piece] for at in range(0, len(text), plan.piece))
        if not plan.endless:
            return


def _event(delta: dict[str, Any] | None, *, finish_reason: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "fake", "choices": choices}
    return f"data: {json.dumps(chunk | more, ensure_ascii=False)}\n\n".encode("utf-8", "surrogatepass")


def _completion(plan: Plan, asked: dict[str, Any], *, many: bool | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": _text(plan, asked)}
    count = asked.get("n", 1) if many else 1
    choices = [{"index": n, "message": message, "finish_reason": plan.finish_reason} for n in range(count)]
    usage = {"prompt_tokens": 11, "completion_tokens": 5 * count, "total_tokens": 11 + 5 * count}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "fake"}
    return head | {"choices": choices, "usage": usage}


async def _body(receive: Any) -> dict[str, Any]:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return json.loads(body)


async def _head(send: Any, status: int, content_type: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})


async def _reply(send: Any, status: int, content: Any) -> None:
    await _head(send, status, b"application/json")
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
