"""Plays vectors against a target: the pure core, or a live server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Protocol

import anyio

from tests.support.tokens import jwt

VECTORS = Path(__file__).parent / "vectors"
QUEUES = ("http", "analyzer")
TYPES = {"string": str, "integer": int, "object": dict}

Vector = dict[str, Any]


class Target(Protocol):
    """A client's connection to a bridge, and the Redis that this bridge reads."""

    async def send(self, message: str | bytes) -> None: ...

    async def add_entry(self, queue: str, fields: dict[str, bytes], stream_id: str | None) -> None: ...

    async def receive(self) -> dict[str, Any]: ...

    async def close_code(self) -> int: ...

    async def reconnect(self) -> None: ...

    async def read(self) -> None: ...

    async def make_queue(self, name: str) -> None: ...

    async def trim(self, queue: str) -> None: ...

    async def vanish(self, queue: str, job_id: str) -> None: ...

    async def add_below(self, below: dict[str, list[str]]) -> None: ...

    async def add_line(self, stream_id: str, fields: dict[str, bytes]) -> None: ...

    async def trim_log(self, length: int | None) -> None: ...

    async def add_job_log(self, queue: str, job_id: str, lines: list[str], keep: int | None) -> None: ...


def load_vectors(target: str) -> list[Vector]:
    """Return all vectors that `target` can play."""
    vectors: list[Vector] = []
    for file in sorted(VECTORS.glob("*.json")):
        vectors += json.loads(file.read_text(encoding="utf-8"))
    return [vector for vector in vectors if target in vector.get("targets", (target,))]


def vector_id(vector: Vector) -> str:
    return f"{vector['rule']} {vector['name']}"


async def play(vector: Vector, target: Target) -> None:
    """Play the steps of `vector`. Fail at the first difference."""
    for step in vector["steps"]:
        ((kind, value),) = step.items()
        match kind:
            case "send":
                await target.send(json.dumps(with_tokens(value)))
            case "sendText":
                await target.send(value)
            case "sendBinary":
                await target.send(base64.b64decode(value))
            case "entry":
                await target.add_entry(value["queue"], _fields(value), value.get("id"))
            case "expect":
                check(value, await target.receive(), "frame")
            case "close":
                assert await target.close_code() == value
            case "reconnect":
                await target.reconnect()
            case "read":
                await target.read()
            case "wait":
                await anyio.sleep(value)
            case "queue":
                await target.make_queue(value)
            case "trim":
                await target.trim(value)
            case "jobLog":
                await target.add_job_log(value["queue"], value["jobId"], value["lines"], value.get("keep"))
            case "vanish":
                await target.vanish(value["queue"], value["jobId"])
            case "below":
                await target.add_below(value)
            case "log":
                await target.add_line(value["id"], _fields(value))
            case "trimLog":
                await target.trim_log(value)
            case _:
                raise AssertionError(f"no such step: {kind}")


def with_tokens(value: Any) -> Any:
    """Return a value in which each `$token` is a token with that scope, for the secret of the vectors' settings."""
    match value:
        case {"$token": {"scope": scope, "seconds": seconds}}:
            return jwt(scope, seconds=seconds)
        case {"$bearer": claims}:
            return f"bearer.{with_tokens({'$token': claims})}"
        case dict():
            return {key: with_tokens(part) for key, part in value.items()}
        case list():
            return [with_tokens(part) for part in value]
        case _:
            return value


def _fields(value: dict[str, Any]) -> dict[str, bytes]:
    fields = {name: text.encode() for name, text in value["fields"].items()}
    return fields | {name: base64.b64decode(data) for name, data in value.get("base64", {}).items()}


def check(expected: Any, value: Any, where: str) -> None:
    """Check that `value` contains at least what is expected."""
    match expected:
        case {"$type": name}:
            assert isinstance(value, TYPES[name]), f"{where}: {value!r}"
        case {"$exactly": exact}:
            assert value == exact, where
        case dict():
            assert isinstance(value, dict), f"{where}: {value!r}"
            for key, part in expected.items():
                if part == {"$absent": True}:
                    assert key not in value, f"{where}.{key}: {value[key]!r}"
                else:
                    assert key in value, f"{where}.{key} is missing in {value!r}"
                    check(part, value[key], f"{where}.{key}")
        case list():
            assert isinstance(value, list), f"{where}: {value!r}"
            assert len(value) == len(expected), f"{where}: {value!r}"
            for index, part in enumerate(expected):
                check(part, value[index], f"{where}[{index}]")
        case _:
            assert value == expected, where
