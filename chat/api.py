"""The chat through the API: a question in, the finished answer out. Public and throttled; needs no log-in.

An answer asked for here belongs to no browser, so whoever holds its id may read it again: the id is 122 random bits and
is told to nobody else. An answer asked for on the chat page stays with the browser that asked, and with staff.
"""

import asyncio
import hashlib
import hmac
import threading
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle
from rest_framework.views import APIView

from campaigns.api import read_field
from campaigns.auction.validation import MAX_PROFILE_LENGTH, MAX_QUERY_LENGTH, clean_profile, clean_query
from campaigns.visitors import visitor_hash
from chat.answering import Busy, answer_query
from chat.models import Turn
from chat.rate_limit import DAY, refusal
from chat.turns import finished_turn

RETRY_AFTER_S = 5


class QuestionSerializer(serializers.Serializer):
    query = serializers.CharField(max_length=MAX_QUERY_LENGTH)
    profile = serializers.CharField(max_length=MAX_PROFILE_LENGTH, required=False, help_text="Who asks, in words.")


class SegmentSerializer(serializers.Serializer):
    type = serializers.ChoiceField(["text", "ad"])
    text = serializers.CharField(required=False)
    ad_id = serializers.CharField(required=False)
    title = serializers.CharField(required=False)
    click_url = serializers.URLField(required=False)


class ShownAdSerializer(serializers.Serializer):
    ad_id = serializers.CharField()
    title = serializers.CharField()
    advertiser = serializers.CharField()
    category = serializers.CharField()
    position = serializers.IntegerField(help_text="1 is the first ad in the answer.")
    click_url = serializers.URLField(help_text="Opening it charges the advertiser, once.")


class TurnSerializer(serializers.Serializer):
    """Documents what finished_turn gives. Ads are advertising: show them as such."""

    id = serializers.UUIDField()
    conversation = serializers.UUIDField()
    status = serializers.ChoiceField(Turn.Status.choices)
    error = serializers.CharField()
    query = serializers.CharField()
    profile = serializers.CharField()
    text = serializers.CharField()
    segments = SegmentSerializer(many=True)
    ads = ShownAdSerializer(many=True)
    auction = serializers.UUIDField(allow_null=True)
    model_version = serializers.CharField(allow_null=True)
    format_errors = serializers.DictField(child=serializers.IntegerField())
    prompt_tokens = serializers.IntegerField(allow_null=True)
    completion_tokens = serializers.IntegerField(allow_null=True)
    first_token_ms = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()


class ErrorSerializer(serializers.Serializer):
    detail = serializers.CharField()


class DayThrottle(BaseThrottle):
    """A day's questions from one address, those of the chat page among them."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        self._now = timezone.now()
        return not refusal(request=request._request, visitor="", now=self._now, windows=(DAY,))

    def wait(self) -> float:
        """Seconds until the next day begins, in UTC."""
        return DAY.seconds - self._now.timestamp() % DAY.seconds


class TurnCreate(APIView):
    """Ask, and wait for the finished answer: seconds, not milliseconds.

    The same Idempotency-Key from the same caller gives the same answer again, without a second generation. Hanging up
    stops the answer: the key then gives what was written until then.
    """

    permission_classes = [AllowAny]
    throttle_classes = [ScopedRateThrottle, DayThrottle]
    throttle_scope = "turns"

    @extend_schema(
        request=QuestionSerializer,
        parameters=[OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)],
        responses={
            201: TurnSerializer,
            202: OpenApiResponse(TurnSerializer, description="The same question is being answered: GET it later."),
            409: OpenApiResponse(ErrorSerializer, description="The key was used for another question."),
            503: OpenApiResponse(ErrorSerializer, description="The model server is down or busy."),
        },
    )
    def post(self, request: Request) -> Response:
        query = read_field(request, "query", clean_query)
        profile = read_field(request, "profile", clean_profile, default="")
        try:
            turn = _answer(query=query, profile=profile, idempotency_key=_scoped_key(request))
        except Busy as busy:
            return _unavailable(str(busy))
        if (turn.query, turn.profile) != (query, profile):
            return Response({"detail": "This Idempotency-Key was used for another question."}, status=409)
        if turn.status == Turn.Status.FAILED:
            return _unavailable(turn.error, turn=str(turn.pk))
        return Response(_shown(turn, request), status=201 if turn.status in Turn.FINAL else 202)


class TurnDetail(APIView):
    """An answer asked for before. Ids are unguessable; an answer from the chat page is its own browser's alone."""

    permission_classes = [AllowAny]

    @extend_schema(responses=TurnSerializer)
    def get(self, request: Request, turn_id: UUID) -> Response:
        turn = Turn.objects.select_related("conversation", "model_version").filter(pk=turn_id).first()
        if turn is None or not _may_see(turn, request):
            raise Http404
        return Response(_shown(turn, request))


@async_to_sync
async def _answer(**asked: str | None) -> Turn:
    """Answers in the request's own thread. Where its caller hangs up, Django cancels this task, which only waits."""
    hung_up = threading.Event()
    answering = asyncio.ensure_future(sync_to_async(answer_query)(hung_up=hung_up.is_set, **asked))
    try:
        return await asyncio.shield(answering)
    except asyncio.CancelledError:
        hung_up.set()
        return await answering


def _may_see(turn: Turn, request: Request) -> bool:
    owner = turn.conversation.visitor_hash
    return owner in ("", visitor_hash(request._request)) or request.user.is_staff


def _shown(turn: Turn, request: Request) -> dict[str, Any]:
    return finished_turn(turn, base_url=request.build_absolute_uri("/").rstrip("/"))


def _unavailable(detail: str, **more: str) -> Response:
    return Response({"detail": detail, **more}, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})


def _scoped_key(request: Request) -> str | None:
    """The caller's key, made the caller's own: nobody gets another's answer by guessing a key."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= 200:
        raise ValidationError({"Idempotency-Key": ["1 to 200 characters."]})
    caller = f"user:{request.user.pk}" if request.user.is_authenticated else ScopedRateThrottle().get_ident(request)
    return hmac.digest(settings.SECRET_KEY.encode(), f"{caller}\n{key}".encode(), hashlib.sha256).hex()
