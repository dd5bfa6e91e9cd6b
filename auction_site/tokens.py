"""Tokens for the API: log in for one, log out of it. Failed attempts count together with those on the log-in page."""

from allauth.account.adapter import get_adapter
from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema, extend_schema_view, inline_serializer
from knox.models import AuthToken
from knox.views import LogoutView
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView


class Credentials(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=200, trim_whitespace=False)


class LoginView(APIView):
    """Exchange a name and a password for a token, good for ten hours. Send it as `Authorization: Token ...`."""

    authentication_classes = []
    permission_classes = []
    throttle_classes = [ScopedRateThrottle]
    throttle_scope = "login"

    @extend_schema(
        request=Credentials,
        responses=inline_serializer(
            "NewToken", {"token": serializers.CharField(), "expiry": serializers.DateTimeField()}
        ),
    )
    def post(self, request: Request) -> Response:
        credentials = Credentials(data=request.data)
        credentials.is_valid(raise_exception=True)
        try:  # allauth counts the failures, as it does for the page
            user = get_adapter(request._request).authenticate(request._request, **credentials.validated_data)
        except ValidationError as error:
            raise Throttled(detail=" ".join(error.messages)) from None
        if user is None or not user.is_active:
            raise AuthenticationFailed("The name or the password is wrong.")
        token, secret = AuthToken.objects.create(user=user)
        return Response({"token": secret, "expiry": token.expiry})


@extend_schema_view(post=extend_schema(request=None, responses={204: None}))
class TokenLogoutView(LogoutView):
    """Forget the token of this request."""
