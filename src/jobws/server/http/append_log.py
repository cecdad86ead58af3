"""`POST /logs`: adds lines to the log, for programs that cannot write to Redis. Invalid lines do not affect others."""

from __future__ import annotations

import time
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from jobws.access.caller import ADDRESS, CALLER, payer_of
from jobws.errors import RequestError
from jobws.protocol.codec import decode_list
from jobws.protocol.http_resources import LineError, LogsAccepted
from jobws.protocol.identifiers import MAX_SAFE_INTEGER
from jobws.protocol.log.large_record import decode_record
from jobws.protocol.log.records import LEVELS, OWN_SOURCE, parse_record
from jobws.server.http.request import SUBJECT, body_text, content_type, json_answer
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.protocol.log.records import LogRecord
    from jobws.server.http.service import Service

NDJSON: Final = "application/x-ndjson"
# How many records one request may have: the stream keeps about as many lines.
MAX_RECORDS: Final = 10_000
MAX_ERRORS: Final = 100
_NAME: Final[dict[str, Any]] = {"type": ["string", "null"]}
_LOG_RECORD: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "level": {**_NAME, "description": f"One of {', '.join(LEVELS)}."},
        "source": _NAME,
        "time": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_SAFE_INTEGER},
        "queue": _NAME,
        "jobId": _NAME,
        "fields": {"type": ["object", "null"]},
    },
    "required": ["message"],
    "description": "Further keys go into `fields`.",
}
# The schema of the body for /openapi.json. It does not describe the items of a list, since invalid ones are no problem
# but are listed in the answer.
LOG_RECORDS: Final[dict[str, Any]] = {"anyOf": [_LOG_RECORD, {"type": "array", "description": "Log records."}]}


class LogPosting:
    """The endpoint `POST /logs`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def post(self, request: Request) -> Response:
        """`POST /logs`: a record, a list of records, or one record on each line (NDJSON)."""
        text = await body_text(request, self._service.body_limits, ("application/json", NDJSON))
        now, payer = int(time.time() * 1000), payer_of(request.scope[CALLER], request.scope[ADDRESS])
        self._service.check_log_lines(payer)  # to parse a body of 1 MiB takes 0.2 s in all
        if content_type(request) == NDJSON:
            texts: Iterable[str] = StringIO(text, newline="\n")
        elif text.lstrip(" \t\r\n").startswith("["):
            texts = decode_list(text, SUBJECT, MAX_RECORDS, "records")
        else:
            await self._service.append_logs([_record(decode_record(text, SUBJECT), now)], payer)
            return json_answer(LogsAccepted(1, 0, []), 202)
        records, errors = await parse_records(texts, now)
        if errors and not records:
            first = errors[0]
            raise RequestError("bad-data", f"none of {len(errors)} records is valid; {first.line}: {first.message}")
        await self._service.append_logs(records, payer)
        return json_answer(LogsAccepted(len(records), len(errors), errors[:MAX_ERRORS]), 202)


async def parse_records(texts: Iterable[str], now_ms: int) -> tuple[list[LogRecord], list[LineError]]:
    """Return the valid records, and an error for each invalid one. Empty lines are ignored.

    Args:
        texts: The JSON text of each record.
        now_ms: The time of records without `time`, in milliseconds since 1970.

    Raises:
        RequestError: `too-many`.
    """
    records: list[LogRecord] = []
    errors: list[LineError] = []
    # A record takes from 2 µs to some milliseconds, and a body may have a million empty lines.
    found, turn = 0, Turn()
    for number, text in enumerate(texts, 1):
        if not text.isspace():
            found += 1
            if found <= MAX_RECORDS:
                try:
                    records.append(_record(decode_record(text, "the record"), now_ms))
                except RequestError as error:
                    errors.append(LineError(number, error.code, error.message))
        await turn.pause()
    if found > MAX_RECORDS:
        raise RequestError("too-many", f"{SUBJECT} may have {MAX_RECORDS} records, this one has {found}")
    return records, errors


def _record(value: object, now_ms: int) -> LogRecord:
    record = parse_record(value, now_ms)
    if record.source.strip().casefold() == OWN_SOURCE:
        raise RequestError("bad-data", f"`source`: only the bridge itself writes lines of {OWN_SOURCE}")
    return record
