"""What was read back, to the subscriptions that miss it: events from the stream, outcomes from the job's hash.

Each call is one synchronous step, so anyone who reads may wait between two of them until the client has taken the last.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET

from jobws.bullmq.events import Life, field, kind_of
from jobws.hub.jobs.missed import FINISHED, NEVER, finished_text, misses
from jobws.hub.jobs.subscription import Held
from jobws.protocol.codec import encode, json_text
from jobws.protocol.echo import named
from jobws.protocol.identifiers import START, later, position
from jobws.protocol.messages import Gap, GapData, ItemError, JobSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobws.bullmq.snapshot import LookUp
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.history import KnownStream
    from jobws.hub.jobs.missed import Owed, Replay
    from jobws.hub.jobs.subscription import Subscription
    from jobws.redis.commands import Entry


def go_live(fanout: Fanout, subscription: Subscription) -> None:
    """Let a subscription get what happens: now, or, if it asked for log lines, after those that are there already."""
    if subscription.request.logs is None or subscription.left:
        fanout.release(subscription)
    else:
        subscription.held = subscription.held or []
        fanout.job_lines.drain(subscription, subscription.job_states, partial(fanout.release, subscription))


def replay(fanout: Fanout, of: Replay, index: int, entry: Entry | None) -> None:
    """Deliver the event `index` of a replay; after its last one a subscription is live.

    `entry` is what the stream holds under that id. If that is not the event any more, the client is told of the gap;
    and if it was the outcome, the hash may have it.
    """
    subscription, queue, stream_id, kind = of.subscription, of.queue, of.stream_ids[index], of.kinds[index]
    if subscription.left:
        return
    room = subscription.request.room
    job_id = room.job_id or ""
    connection = subscription.connection
    if entry is not None and field(entry[1], b"jobId") == job_id.encode() and kind_of(entry[1]) == kind:
        fanout.counts["replayed"] += 1
        tail = fanout.tail(json_text(queue), entry[1])
        fanout.send(subscription, kind, queue, stream_id, tail, replayed=True)
    else:
        connection.outbox.append(encode(Gap(sub=named(room.sub), data=GapData(queue, "trimmed", [job_id]))))
        if subscription.job_states.get(queue) == stream_id:
            subscription.job_states[queue] = None
            connection.owe(subscription, queue)
    if of.is_last and index + 1 == len(of):
        go_live(fanout, subscription)
    connection.outbox.flush()


def settle(fanout: Fanout, owed: Owed, snapshot: JobSnapshot | None, moment: str, known: KnownStream) -> None:
    """Deliver an outcome that the stream does not have: as the hash tells it, or (None) that the job is gone.

    Nothing happens if the outcome came meanwhile, the client has it, or the job lives again. It is put off if there was
    a gap in the queue since: the job may have had another outcome in it.

    Args:
        fanout: Where events pass.
        owed: What is to be delivered.
        snapshot: What the hash said.
        moment: How far the stream went then, `0-0` if it held nothing; it was read that far.
        known: What was known of the queue's stream before that. It was not being read again.
    """
    subscription, queue = owed
    if subscription.left or subscription.owed is None or queue not in subscription.owed:
        return
    subscription.pay(queue)
    if not fanout.history.is_current(queue, known.history):
        subscription.connection.owe(subscription, queue)
        return
    # A stream that was emptied ends nowhere, and one that went back ends too early.
    last = later(moment, known.cursor)
    request, connection = subscription.request, subscription.connection
    job_id = (request.room.job_id or "").encode()
    transition = fanout.history.of(queue).last_transition(job_id)
    newer = transition is not None and position(transition.stream_id) > position(last)
    finished = NEVER if snapshot is None else finished_text(snapshot)
    if snapshot is None:
        if newer or subscription.job_states.get(queue) is not None:
            return
    elif snapshot.state not in FINISHED or subscription.was_delivered(queue, finished):
        return
    if newer and transition is not None and transition.kind.life is Life.LIVES:
        subscription.note_delivered(queue, finished)
    else:
        subscription.settle(queue, last, finished)
    fields = _outcome(job_id, snapshot)
    kind = kind_of(fields)
    if kind is None or not request.chooses(kind.name.text):
        return
    fanout.counts["from-hash"] += 1
    if request.logs is not None:
        fanout.job_lines.hold(subscription, queue)
    at, tail = f"{last}~{finished}".encode(), fanout.tail(json_text(queue), fields)
    if subscription.held is None:
        fanout.send(subscription, kind, queue, at, tail, replayed=True)
    elif connection.outbox.hold(tail):
        subscription.held.append(Held(kind, queue, at, tail, replayed=True))
    connection.outbox.flush()


def look_again(fanout: Fanout, queue: str, job_ids: Iterable[str], look_up: LookUp) -> Iterator[bool]:
    """Have outcomes told that no event told of: the hash has them, or it vanished without one.

    Yields after each subscription whether the stream was read as far as it went when the hashes were. If not, one that
    vanished says nothing.
    """
    all_read = position(look_up.ends.get(queue, START)) <= position(fanout.cursors.get(queue, START))
    without_events = queue in fanout.without_events
    for job_id in job_ids:
        snapshot = look_up.found.get((queue, job_id))
        if isinstance(snapshot, ItemError):
            continue
        for subscription in fanout.rooms.of_job(queue, job_id):
            if not subscription.left and misses(
                subscription, queue, snapshot, all_read=all_read, without_events=without_events
            ):
                subscription.connection.owe(subscription, queue)
            yield all_read


def _outcome(job_id: bytes, snapshot: JobSnapshot | None) -> list[bytes]:
    """The fields of the event that a hash stands for."""
    fields = [b"jobId", job_id]
    if snapshot is None:
        return [b"event", b"removed", *fields]
    if snapshot.returnvalue is not UNSET:
        fields += [b"returnvalue", bytes(snapshot.returnvalue)]
    if snapshot.failed_reason is not UNSET:
        fields += [b"failedReason", snapshot.failed_reason.encode(errors="replace")]
    return [b"event", snapshot.state.encode(), *fields]
