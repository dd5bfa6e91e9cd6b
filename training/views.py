"""The runs of the loop, for staff: start one, see how far it is, stop it, go on, read what came of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import wraps
from pathlib import Path

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chat.models import ModelVersion
from training import results, runs, stages
from training.evaluating import built_in
from training.forms import GUIDED, EvaluationForm, IRPOForm, RunForm, SimulationForm
from training.models import Stage, TrainingRun

PER_PAGE = 20
CHUNK = 2**16  # bytes


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
        return _start_in_a_world(request, TrainingRun.Kind.SIMULATION, form)
    return render(request, "training/page.html", {"form": form, **_page(request)}, status=422 if form.errors else 200)


@never_cache
@staff_only
@require_http_methods(["GET", "POST"])
def irpo(request: HttpRequest) -> HttpResponse:
    """GET: the form of a training. POST: start one."""
    form = IRPOForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        return _start_in_a_world(request, TrainingRun.Kind.IRPO, form)
    return render(request, "training/irpo.html", {"form": form}, status=422 if form.errors else 200)


@never_cache
@staff_only
@require_http_methods(["GET", "POST"])
def evaluation(request: HttpRequest) -> HttpResponse:
    """GET: the form of an evaluation. POST: start one."""
    first = {"policies": ["base", f"irpo{GUIDED}"]}
    form = EvaluationForm(request.POST or None, models=_models(), initial=first)
    if request.method == "POST" and form.is_valid():
        started = runs.start(kind=TrainingRun.Kind.EVALUATION, asked=form.asked, created_by=request.user)
        return redirect("training_run", started.pk)
    return render(request, "training/evaluation.html", {"form": form}, status=422 if form.errors else 200)


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


@staff_only
@require_POST
def run_register(request: HttpRequest, run_id: int) -> HttpResponse:
    """Let the chat ask the policy that a run of IRPO keeps. Nobody is answered by it until somebody chooses it."""
    if not request.user.has_perm("chat.add_modelversion"):
        raise PermissionDenied("Adding a model version is for administrators.")
    found = _get(run_id)
    if not results.may_be_asked(found):
        raise Http404
    try:
        runs.register(found)
    except runs.NotServed as error:
        return _show(request, found, refused=str(error), status=422)
    return _changed(request, run_id)


@never_cache
@staff_only
@require_safe
def run_chart(request: HttpRequest, run_id: int) -> JsonResponse:
    """What charts.js draws of a run."""
    if (drawn := results.chart(_get(run_id))) is None:
        raise Http404
    return JsonResponse(drawn)


@never_cache
@staff_only
@require_safe
def run_file(request: HttpRequest, run_id: int, name: str) -> HttpResponse:
    """A finished file of a run, to keep. Only the names that we know: none leads out of the folder."""
    found = _get(run_id)
    path = found.folder / name
    if name not in results.files(found) or not path.is_file():
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
        row.figures = results.figures(row)
    return {"page": page, "is_going_on": any(row.is_active for row in page)}


def _changed(request: HttpRequest, run_id: int) -> HttpResponse:
    return _show(request, _get(run_id)) if request.htmx else redirect("training_run", run_id)


def _models() -> dict[str, str]:
    """The folders of all policies that can be evaluated, by name: the built-in ones, and what runs of IRPO left."""
    trained = TrainingRun.objects.filter(kind=TrainingRun.Kind.IRPO).prefetch_related("stages")
    return built_in() | {
        f"irpo-{run.pk}": str(run.folder / stages.SHIPPED)
        for run in trained
        if run.status == Stage.Status.COMPLETE and results.may_be_asked(run)
    }


def _start_in_a_world(request: HttpRequest, kind: str, form: RunForm) -> HttpResponse:
    given = {stages.ADS: form.cleaned_data["ads"], stages.QUERIES: form.cleaned_data["own_queries"]}
    started = runs.start(
        kind=kind,
        asked=form.asked,
        files={name: content for name, content in given.items() if content is not None},
        created_by=request.user,
    )
    return redirect("training_run", started.pk)


def _show(request: HttpRequest, found: TrainingRun, *, refused: str = "", status: int = 200) -> HttpResponse:
    found.figures = results.figures(found)
    shown: dict[str, object] = {"run": found, "refused": refused, "result": results.result(found)}
    if found.kind == TrainingRun.Kind.IRPO:
        shown |= {
            "epochs": results.epochs(found),
            "stages_in_all": len(found.stages.all()),
            "may_be_asked": results.may_be_asked(found) and request.user.has_perm("chat.add_modelversion"),
            "version": ModelVersion.objects.filter(model=str(found.folder / stages.SHIPPED)).first(),
        }
    if found.kind == TrainingRun.Kind.EVALUATION:
        shown["evidence"] = results.evidence(found)
    shown["files"] = [
        {"name": name, "told": told, "bytes": (found.folder / name).stat().st_size}
        for name, told in results.files(found).items()
        if (found.folder / name).is_file()
    ]
    template = "training/_run.html" if request.htmx else "training/run.html"
    return render(request, template, shown, status=status)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
