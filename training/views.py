"""The runs of the loop, for staff: start one, see how far it is, stop it, go on, read what came of it."""

import asyncio
import json
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
from training import runs, stages
from training.forms import IRPOForm, RunForm, SimulationForm
from training.improving import RESULT
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
IRPO_FILES = {  # what a run of IRPO may leave, and its epochs
    RESULT: "which policy to keep, and why it stopped early",
    "manifest.json": "what was asked for: settings, model, world, who clicks",
    f"{stages.SHIPPED}/README.md": "the card of the policy that it keeps",
    f"{stages.SHIPPED}/model.safetensors": "its weights, bfloat16",
    **{name: told for name, told in FILES.items() if name.startswith(("world/", "given-"))},
}
EPOCH_FILES = {
    "metrics.json": "all figures",
    "test/responses.jsonl": "one line per answer to a test question",
    "online/responses.jsonl": "one line per answer that taught the reward model",
    "online/clicks.jsonl": "one line per answer: what the user did with each ad",
    "pctr/fit.json": "how good the reward model is",
    "yield.json": "how many questions had a winner and losers",
    "groups.jsonl": "one line per question: winner and losers",
    "dpo/steps.jsonl": "one line per step",
    "grpo/steps.jsonl": "one line per step",
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
        return _start(request, TrainingRun.Kind.SIMULATION, form)
    return render(request, "training/page.html", {"form": form, **_page(request)}, status=422 if form.errors else 200)


@never_cache
@staff_only
@require_http_methods(["GET", "POST"])
def irpo(request: HttpRequest) -> HttpResponse:
    """GET: the form of a training. POST: start one."""
    form = IRPOForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        return _start(request, TrainingRun.Kind.IRPO, form)
    return render(request, "training/irpo.html", {"form": form}, status=422 if form.errors else 200)


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
    if not _may_be_asked(found):
        raise Http404
    try:
        runs.register(found)
    except runs.NotServed as error:
        return _show(request, found, refused=str(error), status=409)
    return _changed(request, run_id)


@never_cache
@staff_only
@require_safe
def run_chart(request: HttpRequest, run_id: int) -> JsonResponse:
    """What charts.js draws of a run of IRPO: revenue and reward by epoch."""
    epochs = _epochs(_get(run_id))
    series = [
        {"name": title, "values": values, "texts": [f"{value:.2f}" for value in values]}
        for title, name in (("Revenue per query", "revenue"), ("Reward (Eq. 8)", "reward"))
        for values in [[metrics["test"][name] for metrics in epochs]]
    ]
    labels = [f"epoch {metrics['epoch']}" for metrics in epochs]
    title = "Revenue per query and reward by epoch"
    return JsonResponse({"kind": "time", "unit": "number", "title": title, "labels": labels, "series": series})


@never_cache
@staff_only
@require_safe
def run_file(request: HttpRequest, run_id: int, name: str) -> HttpResponse:
    """A finished file of a run, to keep. Only the names that we know: none leads out of the folder."""
    found = _get(run_id)
    path = found.folder / name
    if name not in _files(found) or not path.is_file():
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


def _start(request: HttpRequest, kind: str, form: RunForm) -> HttpResponse:
    given = {stages.ADS: form.cleaned_data["ads"], stages.QUERIES: form.cleaned_data["own_queries"]}
    started = runs.start(
        kind=kind,
        asked=form.asked,
        files={name: content for name, content in given.items() if content is not None},
        created_by=request.user,
    )
    return redirect("training_run", started.pk)


def _show(request: HttpRequest, found: TrainingRun, *, refused: str = "", status: int = 200) -> HttpResponse:
    found.figures = _figures(found)
    shown: dict[str, object] = {"run": found, "refused": refused}
    if found.kind == TrainingRun.Kind.IRPO:
        shown |= {
            "epochs": _epochs(found),
            "result": _read(found.folder / RESULT),
            "stages_in_all": len(found.stages.all()),
            "may_be_asked": _may_be_asked(found) and request.user.has_perm("chat.add_modelversion"),
            "version": ModelVersion.objects.filter(model=str(found.folder / stages.SHIPPED)).first(),
        }
    shown["files"] = [
        {"name": name, "told": told, "bytes": (found.folder / name).stat().st_size}
        for name, told in _files(found).items()
        if (found.folder / name).is_file()
    ]
    template = "training/_run.html" if request.htmx else "training/run.html"
    return render(request, template, shown, status=status)


def _files(found: TrainingRun) -> dict[str, str]:
    """The files that a run may leave, by name, and what each is."""
    if found.kind == TrainingRun.Kind.SIMULATION:
        return FILES
    epochs = sorted({stage.epoch for stage in found.stages.all()})
    return IRPO_FILES | {
        f"epoch-{epoch:02d}/{name}": f"epoch {epoch}: {told}" for epoch in epochs for name, told in EPOCH_FILES.items()
    }


def _figures(found: TrainingRun) -> dict[str, object] | None:
    """The summary of a run that is complete; of IRPO, that of the policy it keeps."""
    if found.status != Stage.Status.COMPLETE:
        return None
    if found.kind == TrainingRun.Kind.SIMULATION:
        return _read(found.folder / "summary.json")
    result = _read(found.folder / RESULT)
    metrics = result and _read(found.folder / f"epoch-{result['epochs']:02d}" / "metrics.json")
    if not metrics:
        return None
    test = metrics["test"]
    shown = {name: test[name] for name in ("ads_per_answer", "ctr")}
    return shown | {"revenue_per_query": round(test["revenue"], 3), "reward_per_query": test["reward"]}


def _epochs(found: TrainingRun) -> list[dict[str, object]]:
    """The figures of the epochs of IRPO that are measured so far."""
    read = (_read(path) for path in sorted(found.folder.glob("epoch-*/metrics.json")))
    return [metrics for metrics in read if metrics]


def _may_be_asked(found: TrainingRun) -> bool:
    """Has it left a policy that knows how to answer? Those of the tiny preset write nonsense."""
    return found.asked["preset"] != "tiny" and (found.folder / stages.SHIPPED / "config.json").is_file()


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or the folder was tidied away
        return None


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
