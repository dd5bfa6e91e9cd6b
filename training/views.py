"""The runs of the loop, for staff: start one, see how far it is, stop it, go on, read what came of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import wraps
from pathlib import Path

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from training import runs, stages
from training.forms import SimulationForm
from training.models import Stage, TrainingRun

PER_PAGE = 20
CHUNK = 2**16  # bytes
FILES = {  # what a run may leave, and what one line or the file is
    "summary.json": "all figures",
    "manifest.json": "what was asked for: settings, model, world, who clicks",
    "timing.json": "seconds and tokens",
    "auctions.jsonl": "one line per question: candidates and bids",
    "responses.jsonl": "one line per answer",
    "clicks.jsonl": "one line per answer: what the user did with each ad",
    stages.ADS: "the ads that were given",
    stages.QUERIES: "the questions that were given",
    "world/source.json": "who made the world",
    "world/ads.jsonl": "one line per ad",
    "world/profiles.jsonl": "one line per user",
    "world/queries.jsonl": "one line per question",
}


def staff_only(view: Callable) -> Callable:
    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        if not request.user.is_staff:
            raise PermissionDenied("Training is for staff. An administrator can make you one.")
        return view(request, *args, **kwargs)

    return guarded


@never_cache
@staff_only
@require_http_methods(["GET", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    """GET: all runs, and the form. POST: start one."""
    form = SimulationForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        given = {stages.ADS: form.cleaned_data["ads"], stages.QUERIES: form.cleaned_data["own_queries"]}
        run = runs.start(
            kind=TrainingRun.Kind.SIMULATION,
            asked=form.asked,
            files={name: content for name, content in given.items() if content is not None},
            created_by=request.user,
        )
        return redirect("training_run", run.pk)
    return render(request, "training/page.html", {"form": form, **_page(request)}, status=422 if form.errors else 200)


@never_cache
@staff_only
@require_safe
def run_list(request: HttpRequest) -> HttpResponse:
    """The part of the page that changes by itself."""
    return render(request, "training/_runs.html", _page(request))


@never_cache
@staff_only
@require_safe
def run(request: HttpRequest, run_id: int) -> HttpResponse:
    """One run; htmx gets the part that changes by itself."""
    return _show(request, _get(run_id))


@staff_only
@require_POST
def run_cancel(request: HttpRequest, run_id: int) -> HttpResponse:
    runs.cancel(_get(run_id))
    return _changed(request, run_id)


@staff_only
@require_POST
def run_resume(request: HttpRequest, run_id: int) -> HttpResponse:
    runs.resume(_get(run_id))
    return _changed(request, run_id)


@never_cache
@staff_only
@require_safe
def run_file(request: HttpRequest, run_id: int, name: str) -> HttpResponse:
    """A finished file of a run, to keep. Only the names that we know: none leads out of the folder."""
    path = _get(run_id).folder / name
    if name not in FILES or not path.is_file():
        raise Http404
    headers = {
        "Content-Disposition": f'attachment; filename="run-{run_id}-{path.name}"',
        "Content-Length": str(path.stat().st_size),
    }
    return StreamingHttpResponse(_chunks(path), content_type="text/plain; charset=utf-8", headers=headers)


def _get(run_id: int) -> TrainingRun:
    return get_object_or_404(TrainingRun.objects.select_related("created_by").prefetch_related("stages"), pk=run_id)


def _page(request: HttpRequest) -> dict[str, object]:
    rows = TrainingRun.objects.select_related("created_by").prefetch_related("stages")
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    for row in page:
        row.figures = _figures(row)
    return {"page": page, "is_going_on": any(row.is_active for row in page)}


def _changed(request: HttpRequest, run_id: int) -> HttpResponse:
    return _show(request, _get(run_id)) if request.htmx else redirect("training_run", run_id)


def _show(request: HttpRequest, found: TrainingRun) -> HttpResponse:
    found.figures = _figures(found)
    files = [
        {"name": name, "told": told, "bytes": (found.folder / name).stat().st_size}
        for name, told in FILES.items()
        if (found.folder / name).is_file()
    ]
    template = "training/_run.html" if request.htmx else "training/run.html"
    return render(request, template, {"run": found, "files": files})


def _figures(found: TrainingRun) -> dict[str, object] | None:
    """The summary of a run that is complete."""
    if found.status != Stage.Status.COMPLETE:
        return None
    try:
        return json.loads((found.folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the folder was tidied away
        return None


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
