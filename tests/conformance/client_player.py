"""Plays the test vectors for clients. It plays both the bridge and the client's user.

`README.md` explains the steps.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from tests.conformance.runner import check

if TYPE_CHECKING:
    from tests.conformance.runner import Vector
    from tests.support.fake_bridge import FakeBridge, FakeConnection

CLIENT_VECTORS: Final = Path(__file__).parent / "client_vectors"
QUEUE: Final = "q"
# A short heartbeat, so that the bridge's pings come often, and those of clients that use the same interval.
HELLO: Final[dict[str, Any]] = {"heartbeat": 1.0, "queues": [QUEUE, "other"]}


class Client(Protocol):
    """A client under test, with the calls that its user can make."""

    async def call(self, kind: str, name: str, about: Any, options: dict[str, Any]) -> None:
        """Begin to `watch` a job, to `wait` for a job's result, or to watch whole queues (`watchQueue`).

        Later steps call this `name`. `about` is the job's id, or the labels of the queues. `options` are the other keys
        of the step: those of `README.md`.
        """

    async def leave(self, name: str) -> None:
        """End the watch or the wait with this name."""

    async def told(self, name: str) -> dict[str, Any]:
        """Return the next thing that the user gets from this call: an event with its keys, or one of the words of
        `README.md`.
        """


def load_client_vectors() -> list[Vector]:
    """Return all vectors for clients."""
    return [vector for file in sorted(CLIENT_VECTORS.glob("*.json")) for vector in json.loads(file.read_text("utf-8"))]


class Player:
    """Plays a vector, as the bridge and as the user."""

    def __init__(self, bridge: FakeBridge, client: Client, connection: FakeConnection) -> None:
        self._bridge = bridge
        self._client = client
        self._calls: set[str] = set()
        self._begin(connection)

    def _begin(self, connection: FakeConnection) -> None:
        self._connection = connection
        self._limits = self._bridge.hello["limits"]
        self._requests: deque[dict[str, Any]] = deque()  # requests that no step has expected yet
        self._pings: deque[Any] = deque()
        self._unanswered: deque[tuple[dict[str, Any], list[int]]] = deque()
        self._refs: set[Any] = set()
        self._subs: set[Any] = set()  # the names of subscriptions on this connection
        self._latest: dict[tuple[str, str], Any] = {}  # the last name, by job and queue
        self._bound: dict[str, Any] = {}  # by the vector's name, the client's name

    async def play(self, vector: Vector) -> None:
        """Play the steps. Fail at the first difference."""
        for number, step in enumerate(vector["steps"]):
            ((kind, value),) = step.items()
            try:
                await self._play(kind, value)
            except BaseException as error:
                error.add_note(f"step {number}: {json.dumps(step, ensure_ascii=False)}")
                raise

    async def _play(self, kind: str, value: Any) -> None:
        match kind:
            case "watch" | "wait" | "watchQueue":
                await self._call(kind, **value)
            case "leave":
                self._calls.remove(value)
                await self._client.leave(value)
            case "told":
                ((name, expected),) = value.items()
                check(expected, await self._client.told(name), name)
            case "subscribes" | "unsubscribes":
                await self._asks(kind.removesuffix("s"), value)
            case "ack":
                await self._acknowledge(value)
            case "refuse":
                request, _ = self._unanswered.popleft()
                await self._connection.send("error", {**value, "request": request["event"]}, ref=request["ref"])
            case "pings":
                await self._pong(value)
            case "says":
                await self._connection.socket.send_message(json.dumps(unfolded(self._addressed(value))))
            case "hello":
                self._bridge.hello = {**self._bridge.hello, **value}
            case "ends":
                await self._end(value)
            case "returns":
                self._begin(await self._bridge.accept())
            case "staysAway":
                await self._stays_away()
            case _:
                raise AssertionError(f"no such step: {kind}")

    async def _call(self, kind: str, name: str, **options: Any) -> None:
        about = options.pop("queues" if kind == "watchQueue" else "jobId")
        if kind != "watchQueue":
            options.setdefault("expect", False)
        self._calls.add(name)
        await self._client.call(kind, name, about, options)

    # ---- what the client sends ----

    async def _receive(self) -> None:
        """Receive one message, and check the rules that are true for every message."""
        text = await self._connection.socket.get_message()
        assert isinstance(text, str), "C1: a message is a text frame"
        assert len(text.encode()) <= self._limits["maxMessage"], "M3: the message is too large"
        request = json.loads(text)
        ref = request.get("ref")
        if request["event"] == "ping":
            self._pings.append(ref)
            return
        assert ref is not None, "M1: without a ref, a client that asks twice cannot tell the answers apart"
        assert ref not in self._refs, "M1: two requests have the same ref"
        self._refs.add(ref)
        self._requests.append(request)

    async def _asks(self, verb: str, expected: list[dict[str, Any]]) -> None:
        """Check that the client's next requests are about these rooms, in one message or several, in any order."""
        got: list[tuple[dict[str, Any], dict[str, Any]]] = []
        while len(got) < len(expected):
            while not self._requests:
                await self._receive()
            request = self._requests.popleft()
            assert request["event"] in (f"{verb}-job", f"{verb}-queue"), request
            got += [(request, item) for item in items_of(request)]
        order = sorted(range(len(got)), key=lambda index: _room(got[index][1]))
        wanted = sorted(range(len(expected)), key=lambda index: _room(expected[index]))
        for have, want in zip(order, wanted, strict=True):
            self._named(verb, got[have][1], expected[want].get("sub"))
        check(
            [_sorted(self._bind(expected[index])) for index in wanted],
            [_sorted(got[index][1]) for index in order],
            verb,
        )
        # For each item of a request, the item of the vector.
        place = dict(zip(order, wanted, strict=True))
        for number, (request, _) in enumerate(got):
            if not self._unanswered or self._unanswered[-1][0] is not request:
                self._unanswered.append((request, []))
            self._unanswered[-1][1].append(place[number])

    def _named(self, verb: str, item: dict[str, Any], name: str | None) -> None:
        """Store the client's name of a subscription under the vector's name for it, if there is one."""
        sub = item.get("sub")
        if verb == "subscribe":
            assert sub is not None, "P1: without a name, frames of several subscriptions look the same"
            assert sub not in self._subs, "P1: late frames of the first of that name cannot be told apart"
            self._subs.add(sub)
            self._latest[_room(item)] = sub
            if name is not None:
                self._bound[name] = sub
        else:
            assert sub in self._subs, "S8: there is no subscription of that name"

    def _bind(self, keys: dict[str, Any]) -> dict[str, Any]:
        """Return these keys with the client's name of the subscription instead of the vector's."""
        sub = keys.get("sub")
        return {**keys, "sub": self._bound[sub]} if isinstance(sub, str) and sub.startswith("$") else keys

    def _addressed(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Return the frame with a `sub`.

        If the vector gives none, it is the latest subscription to the job, in its queue or in any.
        """
        data = frame.get("data")
        if "sub" in frame:
            frame = self._bind(frame)
        elif "ref" not in frame and isinstance(data, dict) and isinstance(data.get("jobId"), str):
            of = [self._latest.get((data["jobId"], queue)) for queue in (data.get("queue", ""), "")]
            frame = {**frame, "sub": next((sub for sub in of if sub is not None), None)}
        return {key: value for key, value in frame.items() if key != "sub" or value is not None}

    async def _pong(self, after: dict[str, str]) -> None:
        while not self._pings:
            await self._receive()
        await self._connection.send("pong", {"after": after}, ref=self._pings.popleft())

    # ---- what the bridge answers ----

    async def _acknowledge(self, ack: dict[str, Any]) -> None:
        """Answer the request about a job, or those that the given results are about, or all."""
        about, given, after = ack.get("about"), ack.get("results"), ack.get("after", {})
        evicted = {"evicted": [self._bind(item) for item in ack["evicted"]]} if "evicted" in ack else {}
        chosen = [each for each in self._unanswered if about in (None, *_abouts(each[0]))]
        assert chosen, "there is nothing to answer"
        answered = 0
        for request, places in chosen:
            if given is not None and answered >= len(given):
                break
            self._unanswered.remove((request, places))
            answered += len(places)
            items = items_of(request)
            results = [
                answer(request, items[index]) if given is None else given[place] for index, place in enumerate(places)
            ]
            many = isinstance(request["data"], list) or not {"jobs", "queues"}.isdisjoint(request["data"])
            common = {"after": after}
            if request["event"].startswith("unsubscribe"):
                common = {}
            elif any(_queue(item) is None for item in items):  # P5: positions are common only if all name a queue
                common = {}
                results = [
                    result if "error" in result else {"after": _positions(item, after), **result}
                    for item, result in zip(items, results, strict=True)
                ]
            data = {"request": request["event"], **common, **evicted, **({"results": results} if many else results[0])}
            await self._connection.send("ack", data, ref=request["ref"])

    # ---- the end of a connection ----

    async def _end(self, code: int) -> None:
        match code:
            case 1006:
                await self._connection.cut()
            case 1005:
                await self._connection.close(code)  # without a code, there is no reason
            case _:
                await self._connection.close(code, "the reason")

    async def _stays_away(self) -> None:
        """Check that calls that wait fail, and new calls, too, and that there is no further handshake."""
        attempts = self._bridge.attempts
        for name in sorted(self._calls):
            check({"away": True}, await self._client.told(name), name)
        await self._call("wait", "afterwards", jobId="1", queue=QUEUE)
        check({"away": True}, await self._client.told("afterwards"), "afterwards")
        assert self._bridge.attempts == attempts


def items_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the items of a request about jobs or whole queues, which may have several forms (S1, S3, S9, J1)."""
    key, many = ("jobId", "jobs") if request["event"].endswith("-job") else ("queue", "queues")
    data, common = request["data"], {}
    if isinstance(data, dict) and many in data:
        common = {name: value for name, value in data.items() if name != many}
        data = data[many]
    items = data if isinstance(data, list) else [data]
    items = [{**common, **(item if isinstance(item, dict) else {key: item})} for item in items]
    return [{**item, key: str(item[key])} for item in items]


def _abouts(request: dict[str, Any]) -> list[str]:
    """Return the ids of the jobs of a request, or the labels of its whole queues."""
    return [str(item.get("jobId", item.get("queue"))) for item in items_of(request)]


def _queue(item: dict[str, Any]) -> str | None:
    """Return the only queue of an item, or None: its frames may be of any queue."""
    queue = item.get("queue")
    return queue if isinstance(queue, str) and queue != "*" else None


def _room(item: dict[str, Any]) -> tuple[str, str]:
    queue = item.get("queue")
    return item.get("jobId", ""), queue if isinstance(queue, str) else ""


def _positions(item: dict[str, Any], after: dict[str, str]) -> dict[str, str]:
    return {label: position for label, position in after.items() if _queue(item) in (None, label)}


def _sorted(item: dict[str, Any]) -> dict[str, Any]:
    events = item.get("events")
    return {**item, "events": sorted(events)} if isinstance(events, list) else item


def answer(request: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """Return the bridge's answer about an item if the vector gives none: the job exists and is active."""
    if request["event"].startswith("unsubscribe"):
        return {"left": True}
    if "jobId" not in item:
        return {}
    snapshot = {"queue": item.get("queue", QUEUE), "jobId": item["jobId"], "name": "", "state": "active", "at": None}
    return {"jobs": [snapshot]}


def unfolded(value: Any) -> Any:
    """Return a frame of a vector as it is sent. `{"$times": [text, count]}` becomes a long text."""
    match value:
        case {"$times": [str(text), int(count)]}:
            return text * count
        case dict():
            return {key: unfolded(part) for key, part in value.items()}
        case _:
            return value
