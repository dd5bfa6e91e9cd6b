"""`manage.py simulate_traffic`: fill a demo database with visitors who go through the whole chain."""

import json
import sys
import time

from django.core.management.base import BaseCommand, CommandError

from campaigns.auction.candidates import format_micros
from campaigns.auction.validation import InvalidInput
from chat.models import TrafficRun
from chat.tasks import simulate_traffic
from chat.traffic import queue_again, run_traffic, start_run, unfinished_run

BAR = 30  # characters


class Command(BaseCommand):
    help = "Send simulated visitors through the real chain: auctions, answers, clicks paid with play money."

    def add_arguments(self, parser) -> None:
        parser.add_argument("--visitors", type=int, default=100, metavar="N")
        parser.add_argument("--days", type=int, default=14, metavar="D", help="spread the visits over the past D days")
        parser.add_argument("--seed", type=int, default=1, metavar="S")
        parser.add_argument(
            "--engine",
            choices=TrafficRun.Engine.values,
            default=TrafficRun.Engine.LIVE,
            help="live: the model that answers on the site; both: that and the built-in one after IRPO, if there, in "
            "turns; scripted: canned answers, without a model server",
        )
        parser.add_argument("--resume", action="store_true", help="go on with the latest run that was cut short")
        parser.add_argument("--first", action="store_true", help="once in a database's life, and by a worker")
        parser.add_argument("--json", action="store_true", help="print what came of it as JSON")

    def handle(self, **options) -> None:
        try:
            run = self._run(options)
        except InvalidInput as refused:
            raise CommandError(str(refused)) from None
        if options["first"]:
            self._leave_to_a_worker(run)
            return
        began, done_before = time.monotonic(), run.done
        try:
            outcomes = run_traffic(run, report=lambda run: self._draw(run, done_before, time.monotonic() - began))
        except KeyboardInterrupt:
            raise CommandError(f"Stopped after {run.done} of {run.wanted}. Go on with --resume.") from None
        finally:
            self.stderr.write("")
        seconds = time.monotonic() - began
        if options["json"]:
            facts = {"run": run.pk, "status": run.status, "seconds": round(seconds, 1)}
            self.stdout.write(json.dumps({**facts, **outcomes}))
        else:
            charged = format_micros(outcomes["charged micros"])
            self.stdout.write(
                f"{outcomes['questions']} questions in {seconds:.0f} s: {outcomes['ads shown']} ads shown, "
                f"{outcomes['clicks billed']} clicks billed, {charged} charged (play money)."
            )
        if run.status != TrafficRun.Status.COMPLETE:
            raise CommandError(run.error or f"The run was {run.status} after {run.done} of {run.wanted}.")

    def _run(self, options: dict) -> TrafficRun:
        if options["first"] and (run := TrafficRun.objects.first()):
            return run
        if not options["resume"]:
            return start_run(**{name: options[name] for name in ("visitors", "days", "seed", "engine")})
        run = unfinished_run()
        if run is None:
            raise CommandError("There is no run to go on with.")
        queue_again(run)
        return run

    def _leave_to_a_worker(self, run: TrafficRun) -> None:
        if run.status in (TrafficRun.Status.COMPLETE, TrafficRun.Status.CANCELLED):
            self.stdout.write(f"Visitors were sent before: {run.done} of {run.wanted}.")
            return
        queue_again(run)
        simulate_traffic.delay(run.pk)
        self.stdout.write(f"{run.wanted - run.done} simulated visitors are on their way.")

    def _draw(self, run: TrafficRun, done_before: int, seconds: float) -> None:
        """One line that is redrawn on a terminal; elsewhere every tenth visit, so that logs stay short."""
        done_now = run.done - done_before
        left = seconds / done_now * (run.wanted - run.done)
        full = BAR * run.done // run.wanted
        line = f"{'#' * full}{'.' * (BAR - full)} {run.done}/{run.wanted} visitors, {left:.0f} s left "
        if sys.stderr.isatty():
            self.stderr.write(f"\r{line}", ending="")
        elif run.done % 10 == 0 or run.done == run.wanted:
            self.stderr.write(line)
