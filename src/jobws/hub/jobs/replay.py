"""What was read back, to the subscriptions that miss it: events from the stream, outcomes from the job's hash.

Each call is one synchronous step, so anyone who reads may wait between two of them until the client has taken the last.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

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
    from jobws.hub.jobs.history import RecentEvents
    from jobws.hub.jobs.missed import Owed, Replay
    from jobws.hub.jobs.subscription import Membership
    from jobws.redis.commands import Entry


def go_live(fanout: Fanout, membership: Membership) -> None:
    """Let a subscription get what happens: now, or, if it asked for log lines, after those that are there already."""
    if membership.subscription.logs is None or membership.left:
        fanout.release(membership)
    else:
        membership.held = membership.held or []
        fanout.job_lines.drain(membership, membership.lives, partial(fanout.release, membership))


def replay(fanout: Fanout, of: Replay, index: int, entry: Entry | None) -> None:
    """Deliver the event `index` of a replay; after its last one a subscription is live.

    `entry` is what the stream holds under that id. If that is not the event any more, the client is told of the gap;
    and if it was the outcome, the hash may have it.
    """
    membership, queue, stream_id, kind = of.membership, of.queue, of.stream_ids[index], of.kinds[index]
    if membership.left:
        return
    room = membership.subscription.room
    job_id = room.job_id or ""
    connection = membership.connection
    if entry is not None and field(entry[1], b"jobId") == job_id.encode() and kind_of(entry[1]) == kind:
        fanout.counts["replayed"] += 1
        tail = fanout.tail(json_text(queue), entry[1])
        fanout.send(membership, kind, queue, stream_id, tail, replayed=True)
    else:
        connection.outbox.append(encode(Gap(sub=named(room.sub), data=GapData(queue, "trimmed", [job_id]))))
        if membership.lives.get(queue) == stream_id:
            membership.lives[queue] = None
            connection.owe(membership, queue)
    if of.is_last and index + 1 == len(of):
        go_live(fanout, membership)
    connection.outbox.flush()


class Seen(NamedTuple):
    """What was known of a queue, whose stream was not being read again, before hashes were read."""

    recent: RecentEvents
    cursor: str


def see(fanout: Fanout, queue: str) -> Seen:
    """What is known of a queue now."""
    return Seen(fanout.recent.of(queue), fanout.cursors.get(queue, START))


def settle(fanout: Fanout, owed: Owed, snapshot: JobSnapshot | None, moment: str, seen: Seen) -> None:
    """Deliver an outcome that the stream does not have: as the hash tells it, or (None) that the job is gone.

    Nothing happens if the outcome came meanwhile, the client has it, or the job lives again. It is put off if there was
    a gap in the queue since: the job may have had another outcome in it.

    Args:
        fanout: Where events pass.
        owed: What is to be delivered.
        snapshot: What the hash said.
        moment: How far the stream went then, `0-0` if it held nothing; it was read that far.
        seen: What was known before.
    """
    membership, queue = owed
    if membership.left or membership.owed is None or queue not in membership.owed:
        return
    membership.pay(queue)
    if not fanout.recent.is_current(queue, seen.recent):
        membership.connection.owe(membership, queue)
        return
    # A stream that was emptied ends nowhere, and one that went back ends too early.
    last = later(moment, seen.cursor)
    subscription, connection = membership.subscription, membership.connection
    job_id = (subscription.room.job_id or "").encode()
    turn = fanout.recent.of(queue).turn(job_id)
    newer = turn is not None and position(turn.stream_id) > position(last)
    finished = NEVER if snapshot is None else finished_text(snapshot)
    if snapshot is None:
        if newer or membership.lives.get(queue) is not None:
            return
    elif snapshot.state not in FINISHED or membership.was_told(queue, finished):
        return
    fields = _outcome(job_id, snapshot)
    kind = kind_of(fields)
    if kind is None:
        return
    if newer and turn is not None and turn.kind.life is Life.LIVES:
        membership.tell(queue, finished)
    else:
        membership.settle(queue, last, finished)
    if not subscription.chooses(kind.name.text):
        return
    fanout.counts["from-hash"] += 1
    if subscription.logs is not None:
        fanout.job_lines.hold(membership, queue)
    at, tail = f"{last}~{finished}".encode(), fanout.tail(json_text(queue), fields)
    if membership.held is None:
        fanout.send(membership, kind, queue, at, tail, replayed=True)
    elif connection.outbox.hold(tail):
        membership.held.append(Held(kind, queue, at, tail, replayed=True))
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
        for membership in fanout.rooms.of_job(queue, job_id):
            if not membership.left and misses(
                membership, queue, snapshot, all_read=all_read, without_events=without_events
            ):
                membership.connection.owe(membership, queue)
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
