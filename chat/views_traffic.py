"""The card on the analytics page that sends simulated visitors through a demo site, and shows how far they are.

Without htmx it is a page of its own.
"""

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from campaigns.auction.validation import InvalidInput
from campaigns.models import DatabaseMark
from chat import tasks, traffic
from chat.models import TrafficRun

CHOICES = (30, 100, 300)  # visitors


def _staff_of_a_demo(request: HttpRequest) -> None:
    if not request.user.is_staff or not DatabaseMark.objects.filter(kind="demo").exists():
        raise Http404


@login_required
@require_http_methods(["GET", "POST"])
def simulate_traffic(request: HttpRequest) -> HttpResponse:
    """GET: the latest run. POST: start one, or continue one that was cut; a run that is going on is shown instead."""
    _staff_of_a_demo(request)
    if request.method == "POST" and not _is_going_on(TrafficRun.objects.first()):
        wanted = request.POST.get("visitors", "")
        try:
            if wanted == "rest" and (unfinished := traffic.unfinished_run()):
                run = unfinished
                traffic.queue_again(run)
            elif wanted in map(str, CHOICES):
                run = traffic.start_run(visitors=int(wanted), seed=TrafficRun.objects.count() + 1)
            else:
                raise InvalidInput("Choose one of the numbers offered.")
            transaction.on_commit(lambda: tasks.simulate_traffic.delay(run.pk))
        except InvalidInput as problem:
            return _card(request, problem=str(problem), status=422)
    return _changed(request) if request.method == "POST" else _card(request)


@login_required
@require_POST
def cancel_traffic(request: HttpRequest, run_id: int) -> HttpResponse:
    _staff_of_a_demo(request)
    traffic.cancel_run(run_id)
    return _changed(request)


def _is_going_on(run: TrafficRun | None) -> bool:
    """Queued, or running with somebody at it."""
    return (
        run is not None
        and run.status in (TrafficRun.Status.QUEUED, TrafficRun.Status.RUNNING)
        and run != traffic.unfinished_run()
    )


def _changed(request: HttpRequest) -> HttpResponse:
    return _card(request) if request.htmx else redirect("simulate_traffic")


def _card(request: HttpRequest, *, problem: str = "", status: int = 200) -> HttpResponse:
    run = TrafficRun.objects.first()
    facts = {
        "run": run,
        "is_going_on": _is_going_on(run),
        "unfinished": traffic.unfinished_run(),
        "choices": CHOICES,
        "problem": problem,
    }
    template = "chat/_traffic_run.html" if request.htmx else "chat/traffic.html"
    return render(request, template, facts, status=status)
