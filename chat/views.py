"""The chat page, asking, stopping, asking again, the profile, staff's model. Answers stream from views_stream.

Each view works without JavaScript too: what htmx asks for is a fragment, what a plain form sends ends in a redirect.
"""

import json
import random
from functools import cache
from pathlib import Path
from uuid import UUID, uuid4

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from campaigns.auction.validation import MAX_QUERY_LENGTH
from campaigns.visitors import ensure_visitor, set_visitor_cookie, visitor_hash
from chat import registry, streams
from chat.access import is_stakeholder
from chat.forms import ModelForm, ProfileForm, QuestionForm
from chat.model_choice import chosen_model, remember_model
from chat.models import Conversation, Turn, VisitorProfile
from chat.profiles import chosen_profile, remember_profile
from chat.rate_limit import refusal
from chat.transcript import (
    conversation_turns,
    shown_turn,
    visitors_conversation,
    visitors_conversations,
    visitors_turn,
)
from chat.turns import start_turn

EXAMPLES_SHOWN = 6


@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    return _chat_page(request)


@require_safe
@never_cache
def conversation(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    found = visitors_conversation(conversation_id=conversation_id, visitor=visitor_hash(request))
    return _chat_page(request, conversation=found)


@require_safe
@never_cache
def turn(request: HttpRequest, turn_id: UUID) -> HttpResponse:
    """One answer, to step between the answers of a question."""
    found = visitors_turn(turn_id=turn_id, visitor=visitor_hash(request))
    if request.htmx:
        return render(request, "chat/_turn.html", turn_context(request, found))
    streams.keep_for_a_page_without_script(found.pk)
    return redirect(_address(found))


@require_POST
def turn_create(request: HttpRequest) -> HttpResponse:
    visitor, new_cookie = ensure_visitor(request)
    form = QuestionForm(request.POST)
    if not form.is_valid():
        return _refused(request, next(iter(form.errors.values()))[0], status=422)
    asked_in = None
    if form.cleaned_data["conversation"]:
        asked_in = visitors_conversation(conversation_id=form.cleaned_data["conversation"], visitor=visitor)
    if too_many := refusal(request=request, visitor=visitor, now=timezone.now()):
        return _refused(request, too_many, status=429, conversation=asked_in)
    created = start_turn(
        visitor_hash=visitor,
        query=form.cleaned_data["query"],
        profile=chosen_profile(session=request.session).text,
        conversation=asked_in,
        idempotency_key=form.cleaned_data["idempotency_key"],
        model_version=chosen_model(session=request.session, user=request.user),
    )
    response = _started(request, created, template="chat/_turn_created.html")
    if new_cookie:
        set_visitor_cookie(response, new_cookie)
    return response


@require_POST
def turn_retry(request: HttpRequest, turn_id: UUID) -> HttpResponse:
    """Asks the same question again; the earlier answer stays, as a sibling."""
    visitor = visitor_hash(request)
    earlier = visitors_turn(turn_id=turn_id, visitor=visitor)
    form = QuestionForm({"query": earlier.query, "idempotency_key": request.POST.get("idempotency_key")})
    if not form.is_valid():
        return _refused(request, next(iter(form.errors.values()))[0], status=422, conversation=earlier.conversation)
    if too_many := refusal(request=request, visitor=visitor, now=timezone.now()):
        return _refused(request, too_many, status=429, conversation=earlier.conversation)
    created = start_turn(
        visitor_hash=visitor,
        query=earlier.query,
        profile=chosen_profile(session=request.session).text,
        conversation=earlier.conversation,
        idempotency_key=form.cleaned_data["idempotency_key"],
        retry_of=earlier,
        model_version=chosen_model(session=request.session, user=request.user),
    )
    return _started(request, created, template="chat/_turn.html")


@require_POST
def turn_stop(request: HttpRequest, turn_id: UUID) -> HttpResponse:
    """Ends the generation. The page hears of it through the stream, like of every other end."""
    found = visitors_turn(turn_id=turn_id, visitor=visitor_hash(request))
    streams.stop(found.pk)
    return HttpResponse(status=204) if request.htmx else redirect(_address(found))


@require_POST
def visitor_profile(request: HttpRequest) -> HttpResponse:
    form = ProfileForm(request.POST)
    if form.is_valid():
        remember_profile(session=request.session, **form.cleaned_data)
        if not request.htmx:
            return redirect("home")
        return render(request, "chat/_profile.html", {**_profile_context(request), "saved": True})
    context = _profile_context(request, form=form)
    if request.htmx:
        response = render(request, "chat/_profile.html", context, status=422)
        for header in ("HX-Retarget", "HX-Reselect"):  # the form alone: its sheet stays open
            response[header] = "#profile-form"
        return response
    return _chat_page(request, extra=context, status=422)


@require_POST
def model_version(request: HttpRequest) -> HttpResponse:
    """Which model answers this member of staff, here and on Retry; visitors get the live one."""
    if not request.user.is_staff:
        raise PermissionDenied
    form = ModelForm(request.POST)
    if not form.is_valid():
        return _chat_page(request, extra={"refusal": next(iter(form.errors.values()))[0]}, status=422)
    remember_model(session=request.session, version=form.cleaned_data["version"])
    asked_in = form.cleaned_data["conversation"]
    return redirect("conversation", asked_in) if asked_in else redirect("home")


def turn_context(request: HttpRequest, turn: Turn) -> dict[str, object]:
    """What the fragment of one turn needs."""
    return {"shown": shown_turn(turn), "stakeholder": is_stakeholder(request.user)}


def _started(request: HttpRequest, turn: Turn, *, template: str) -> HttpResponse:
    """Answers at once; the generation runs on its own. Where there is no place for it, the question was not asked."""
    if turn.status == Turn.Status.QUEUED:
        try:
            streams.start(turn.pk)
        except streams.Busy as busy:
            return _refused(request, str(busy), status=503, conversation=_withdrawn(turn))
    if not request.htmx:
        streams.keep_for_a_page_without_script(turn.pk)
        return redirect(_address(turn))
    context = {**turn_context(request, turn), **_composer_context(request, conversation=turn.conversation)}
    response = render(request, template, context)
    address = reverse("conversation", args=[turn.conversation_id])
    if not (request.htmx.current_url_abs_path or "").startswith(address):
        response["HX-Push-Url"] = address
    return response


def _withdrawn(turn: Turn) -> Conversation | None:
    """Takes a question back that nobody began to answer. Gives its conversation, if anything else stands there."""
    conversation = turn.conversation
    Turn.objects.filter(pk=turn.pk, status=Turn.Status.QUEUED).delete()
    if conversation.turns.exists():
        return conversation
    conversation.delete()
    return None


def _refused(
    request: HttpRequest, message: str, *, status: int, conversation: Conversation | None = None
) -> HttpResponse:
    """Says in place why nothing was asked, and keeps what was typed."""
    if request.htmx:
        response = render(request, "chat/_refusal.html", {"refusal": message}, status=status)
        response["HX-Retarget"], response["HX-Reswap"] = "#refusal", "outerHTML"
        return response
    extra = {"refusal": message, "typed": request.POST.get("query", "")}
    return _chat_page(request, conversation=conversation, extra=extra, status=status)


def _chat_page(
    request: HttpRequest, *, conversation: Conversation | None = None, extra: dict | None = None, status: int = 200
) -> HttpResponse:
    turns = conversation_turns(conversation=conversation, chosen=request.GET.get("turn", "")) if conversation else []
    context = {
        "turns": turns,
        "stakeholder": is_stakeholder(request.user),
        "examples": [] if turns else random.sample(_questions(), k=EXAMPLES_SHOWN),
        **_model_context(request),
        **_composer_context(request, conversation=conversation),
        **_profile_context(request),
        **(extra or {}),
    }
    return render(request, "chat/page.html", context, status=status)


def _composer_context(request: HttpRequest, *, conversation: Conversation | None) -> dict[str, object]:
    visitor = conversation.visitor_hash if conversation else visitor_hash(request)
    return {
        "conversation": conversation,
        "conversations": visitors_conversations(visitor=visitor),
        "idempotency_key": uuid4().hex,
        "max_query_length": MAX_QUERY_LENGTH,
    }


def _model_context(request: HttpRequest) -> dict[str, object]:
    """Who answers; staff also see what else there is to ask."""
    live = registry.live()
    chosen = chosen_model(session=request.session, user=request.user)
    return {
        "model_version": chosen or live,
        "model_chosen": chosen,
        "model_choices": registry.choices() if request.user.is_staff else (),
    }


def _profile_context(request: HttpRequest, *, form: ProfileForm | None = None) -> dict[str, object]:
    """The remembered profile, and the form's fields: as they were sent where they were refused."""
    profile = chosen_profile(session=request.session)
    return {
        "profile": profile,
        "profile_fields": form.data if form else profile,
        "profile_errors": form.errors if form else {},
        "ready_made_profiles": VisitorProfile.objects.all(),
    }


def _address(turn: Turn) -> str:
    """Where the turn stands on its conversation's page."""
    return f"{reverse('conversation', args=[turn.conversation_id])}?turn={turn.pk}#turn-{turn.pk}"


@cache
def _questions() -> list[str]:
    path = Path(__file__).parent / "data" / "questions.json"
    return [question["text"] for question in json.loads(path.read_text(encoding="utf-8"))]
