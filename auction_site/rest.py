"""What every API view has in common: strict reading of JSON, bounded pages, errors. The settings name these classes."""

import json
import math
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import APIException, ParseError
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.parsers import JSONParser
from rest_framework.response import Response


class TooLarge(APIException):
    status_code = 413
    default_detail = "The request is too large."
    default_code = "too_large"


def explain(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's own answers to errors, and one for a body that Django refuses to read."""
    from rest_framework.views import exception_handler  # needs the settings, which name this module

    return exception_handler(TooLarge() if isinstance(error, RequestDataTooBig) else error, context)


class StrictJSONParser(JSONParser):
    """JSON as its standard has it, of bounded size.

    Python's reader also takes NaN, reads 1e999 as infinity, and breaks on a thousand open brackets.
    """

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: dict | None = None) -> Any:
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge
        try:
            return json.loads(body, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError):
            raise ParseError("The request is not valid JSON.") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


class Pages(LimitOffsetPagination):
    default_limit = 50
    max_limit = 500
