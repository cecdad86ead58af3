"""What was read back, to the members that lack it: events from the stream, outcomes from the job's hash.

Each call is one synchronous step, so whoever reads may wait between two of them until the client has taken the last.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET

from jobws.bullmq.events import field, kind_of
from jobws.hub.lacking import FINISHED, Unsettled
from jobws.hub.membership import Held
from jobws.protocol.codec import encode
from jobws.protocol.identifiers import START, position
from jobws.protocol.messages import Gap, GapData, JobSnapshot

if TYPE_CHECKING:
    from jobws.bullmq.events import Entry
    from jobws.hub.fanout import Fanout
    from jobws.hub.joining import Join
    from jobws.hub.lacking import Replay
    from jobws.hub.membership import Membership


def go_live(fanout: Fanout, membership: Membership) -> None:
    """Have a member live: at once, or if it asked for log lines, once those were read that there are."""
    if membership.subscription.logs is None:
        fanout.release(membership)
    else:
        fanout.job_lines.drain(membership, membership.lives, partial(fanout.release, membership))


def replay(fanout: Fanout, join: Join, of: Replay, index: int, entry: Entry | None) -> None:
    """Deliver the event `index` of a replay of `join`; behind its last one a member is live.

    `entry` is what the stream holds under that id. If that is not the event any more, the client is told of the gap;
    and if it was the outcome, the hash may have it.
    """
    membership, queue, stream_id, kind = of.membership, of.queue, of.stream_ids[index], of.kinds[index]
    if membership.left:
        return
    job_id = membership.subscription.room.job_id or ""
    outbox = membership.connection.outbox
    if entry is not None and field(entry[1], b"jobId") == job_id.encode() and kind_of(entry[1]) == kind:
        outbox.append(fanout.replayed(queue, stream_id, kind, entry[1]))
        fanout.counts["replayed"] += 1
    else:
        position = fanout.cursors.get(queue, START)
        gap = encode(Gap(GapData(queue, "trimmed", [job_id], {queue: position})))
        membership.connection.tell_gap(gap, queue, position)
        if membership.lives.get(queue) == stream_id:
            membership.lives[queue] = None
            join.unsettled.append(Unsettled(membership, queue, stream_id.decode()))
    if of.is_last and index + 1 == len(of):
        go_live(fanout, membership)
    outbox.flush()


def settle(fanout: Fanout, unsettled: Unsettled, snapshot: JobSnapshot | None) -> None:
    """Deliver an outcome that the stream does not have: as the hash tells it, or (None) that the job is gone.

    Nothing happens if the outcome came meanwhile, or the job lives again.
    """
    membership, queue, end = unsettled
    subscription, connection = membership.subscription, membership.connection
    job_id = (subscription.room.job_id or "").encode()
    if membership.left or not membership.prepared or membership.lives.get(queue) is not None:
        return
    turn = fanout.recent.of(queue).turn(job_id)
    if turn is not None and position(turn.stream_id) > position(end):
        return
    if snapshot is not None and snapshot.state not in FINISHED:
        return
    fields = _outcome(job_id, snapshot)
    kind = kind_of(fields)
    if kind is None:
        return
    membership.settle(queue, end, UNSET if snapshot is None else snapshot.finished_on)
    fanout.counts["from-hash"] += 1
    if subscription.logs is not None:
        fanout.job_lines.hold(membership, queue)
    if subscription.chooses(kind.name.text):
        frame = fanout.replayed(queue, None, kind, fields)
        if membership.held is None:
            connection.outbox.append(frame)
        elif connection.outbox.hold(len(frame)):
            membership.held.append(Held(kind.name.text, frame, queue, None))
    if membership.over:
        connection.leave(membership)
    connection.outbox.flush()


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
