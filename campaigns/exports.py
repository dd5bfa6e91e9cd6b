"""Tables as CSV files. Knows nothing of what is in them, except that a spreadsheet must not take text for a formula."""

import csv
import re
from collections.abc import Iterable

from django.http import HttpResponse

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_response(*, filename: str, header: list[str], rows: Iterable[list]) -> HttpResponse:
    response = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"},
    )
    writer = csv.writer(response)
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return response


def _cell(value: object) -> object:
    """An apostrophe before what a spreadsheet would run; numbers stay numbers, nothing stays empty."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return "" if value is None else value
