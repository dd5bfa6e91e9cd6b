"""`manage.py ask "..."`: one question through the whole chain, the answer in the terminal."""

import json
import sys

from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from campaigns.auction.validation import InvalidInput
from chat.adllm.markup import Text
from chat.adllm.rendering import visible
from chat.answering import Busy, Frame, answer_query, finished_turn
from chat.models import Turn
from chat.turns import stored_frame


class Command(BaseCommand):
    help = "Ask the live Ad-LLM a question. Ads stand as: Title (sponsored, click path)."

    def add_arguments(self, parser) -> None:
        parser.add_argument("query", help='the question, or "-" to read it from standard input')
        parser.add_argument("--profile", default="", metavar="TEXT", help="who asks, in a sentence or two")
        parser.add_argument("--json", action="store_true", help="print the finished turn as the API gives it")
        parser.add_argument("--no-stream", action="store_true", help="print the answer only when it is finished")

    def handle(self, *, query: str, profile: str, **options) -> None:
        quiet = options["json"] or options["no_stream"]
        terminal = _Terminal(self.stdout)
        try:
            turn = answer_query(
                query=sys.stdin.read() if query == "-" else query,
                profile=profile,
                publish=(lambda frame: None) if quiet else terminal.show,
            )
        except (InvalidInput, Busy) as refused:
            raise CommandError(str(refused)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped.") from None
        if options["json"]:
            self.stdout.write(json.dumps(finished_turn(turn), indent=2, ensure_ascii=False))
        elif turn.status != Turn.Status.FAILED:
            terminal.show(stored_frame(turn))
            self.stdout.write("")
        if turn.error:
            raise CommandError(turn.error)


class _Terminal:
    """Prints what each frame adds. Segments only ever grow, so what was printed stays right."""

    def __init__(self, out) -> None:
        self._out = out
        self._printed = ""

    def show(self, frame: Frame) -> None:
        text = "".join(
            visible(part.text)
            if isinstance(part, Text)
            else f"{part.title} (sponsored, {reverse('click', args=[frame.served[part.ad_id].token])})"
            for part in frame.segments
        )
        self._out.write(text.removeprefix(self._printed), ending="")
        self._out.flush()
        self._printed = text
