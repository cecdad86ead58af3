"""Delivers to subscriptions what they missed: events from the stream, and outcomes from the job's hash.

Each call is one synchronous step. Between two calls, the caller may wait until the client's outbox has room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from jobws.bullmq.events import Life, field, kind_of
from jobws.hub.jobs.missed import FINISHED, NEVER, finished_text, misses
from jobws.hub.jobs.queue_replay import QueueReplay
from jobws.hub.jobs.subscription import ALIVE, BufferedEvent, JobEnded
from jobws.protocol.codec import encode
from jobws.protocol.echo import named
from jobws.protocol.identifiers import START, later, position
from jobws.protocol.messages import Gap, GapData, ItemError, JobSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobws.bullmq.snapshot import LookUp
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.missed import Owed, Replay
    from jobws.hub.jobs.queue_history import KnownStream
    from jobws.hub.jobs.subscription import Subscription
    from jobws.redis.commands import Entry


def replay(fanout: Fanout, of: Replay, index: int, entry: Entry | None) -> None:
    """Deliver one past event, and flush the client's outbox.

    After the last event of the last replay, the subscription gets events as they happen.

    If the stream no longer has the event, the client gets a `gap` instead. If the event was the job's outcome, the
    outcome is then taken from the job's hash.

    Args:
        fanout: Where events pass.
        of: The replay to which the event belongs.
        index: The index of the event in the replay.
        entry: The stream's entry with the id of the event. None means that there is none.
    """
    subscription = of.subscription
    if subscription.ended:
        return
    if isinstance(of, QueueReplay):
        of.deliver(fanout, index, entry)
    else:
        _replay_of_job(fanout, of, index, entry)
    if of.is_last and index + 1 == len(of):
        fanout.go_live(subscription)
    subscription.client.outbox.flush()


def _replay_of_job(fanout: Fanout, of: Replay, index: int, entry: Entry | None) -> None:
    subscription, queue, stream_id, kind = of.subscription, of.queue, of.stream_ids[index], of.kinds[index]
    key = subscription.request.key
    job_id = key.job_id or ""
    client = subscription.client
    if not subscription.gets_events_of(queue):  # a new token does not allow this queue
        pass
    elif entry is not None and field(entry[1], b"jobId") == job_id.encode() and kind_of(entry[1]) == kind:
        fanout.counts["replayed"] += 1
        tail = fanout.tail_for(subscription, queue, stream_id, entry[1])
        fanout.send(subscription, kind, queue, stream_id, tail, replayed=True)
    else:
        client.outbox.append(encode(Gap(sub=named(key.sub), data=GapData(queue, "trimmed", [job_id]))))
        if subscription.job_states.get(queue) == JobEnded(stream_id):
            subscription.job_states[queue] = ALIVE
            client.owe(subscription, queue)


def deliver_outcome(fanout: Fanout, owed: Owed, snapshot: JobSnapshot | None, moment: str, known: KnownStream) -> bool:
    """Deliver an outcome that the stream does not have, made from the job's hash, and flush the client's outbox.

    If entries up to `moment` were not published yet, return False, and do nothing: they come first, and one may be the
    outcome. The caller calls this again when they were published. In all other cases return True.

    Nothing is delivered if the outcome came meanwhile, if the client already has it, or if the job is alive again. The
    outcome is looked up again if the queue had a gap since the look-up, or was read from an earlier id on, since the
    job may have had another outcome there.

    Args:
        fanout: Where events pass.
        owed: The subscription and the queue.
        snapshot: The contents of the hash. None means that the job is gone, so that its outcome is `removed`.
        moment: The stream's last id at the time of the snapshot, `0-0` if the stream was empty.
        known: What was known of the queue's stream before the look-up. The stream was not being read again then.
    """
    subscription, queue = owed
    if subscription.ended or not owed.is_due:
        return True
    # `moment` is 0-0 if the stream was emptied, and too low if the stream began again with lower ids.
    last = later(moment, known.cursor)
    cursor = position(fanout.cursors.get(queue, START))
    # A cursor that went back may never come so far again.
    is_current = fanout.history.is_current(queue, known.history) and cursor >= position(known.cursor)
    if is_current and cursor < position(last):
        return False
    fanout.send_held_progress((subscription,))
    subscription.clear_owed(queue)
    if is_current:
        _deliver(fanout, subscription, queue, snapshot, last)
    else:
        subscription.client.owe(subscription, queue)
    return True


def _deliver(fanout: Fanout, subscription: Subscription, queue: str, snapshot: JobSnapshot | None, last: str) -> None:
    """Deliver the outcome that a hash shows, unless the client has it or the job is alive again.

    Everything up to the stream id `last` was published before.
    """
    request, client = subscription.request, subscription.client
    job_id = (request.key.job_id or "").encode()
    transition = fanout.history.of(queue).last_transition(job_id)
    newer = transition is not None and position(transition.stream_id) > position(last)
    finished = NEVER if snapshot is None else finished_text(snapshot)
    if snapshot is None:
        if newer or isinstance(subscription.job_states.get(queue), JobEnded):
            return
    elif snapshot.state not in FINISHED or subscription.was_delivered(queue, finished):
        return
    if newer and transition is not None and transition.kind.life is Life.LIVES:
        subscription.note_delivered(queue, finished)
    else:
        subscription.note_outcome(queue, last, finished)
    fields = outcome_fields(job_id, snapshot)
    kind = kind_of(fields)
    if kind is None or not request.chooses(kind.name.text):
        return
    fanout.counts["from-hash"] += 1
    if request.logs is not None:
        fanout.job_logs.hold(subscription, queue)
    at = f"{last}~{finished}".encode()
    tail = fanout.tail_for(subscription, queue, at, fields)
    if subscription.flow is not None:
        subscription.flow.note(subscription, kind)
    if subscription.held is None:
        fanout.send(subscription, kind, queue, at, tail, replayed=True)
    elif client.outbox.hold(tail):
        subscription.held.append(BufferedEvent(kind, queue, at, tail, replayed=True))
    client.outbox.flush()


def find_missed_outcomes(fanout: Fanout, queue: str, job_ids: Iterable[str], look_up: LookUp) -> Iterator[bool]:
    """Find subscriptions that missed an outcome because it had no event, and have it made from the job's hash.

    After each subscription this yields whether the stream had been read up to the time at which the hashes were read.
    If not, hashes that have vanished were not taken for outcomes.

    Args:
        fanout: Where events pass.
        queue: The queue's label.
        job_ids: The jobs to check.
        look_up: The contents of their hashes. A job that could not be looked up is skipped.
    """
    all_read = position(look_up.ends.get(queue, START)) <= position(fanout.cursors.get(queue, START))
    without_events = queue in fanout.without_events
    for job_id in job_ids:
        snapshot = look_up.found.get((queue, job_id))
        if isinstance(snapshot, ItemError):
            continue
        for subscription in fanout.rooms.of_job(queue, job_id):
            # Between two steps, the subscription may have ended, or have lost the right to the job in this queue.
            present = subscription.in_room and not subscription.ended and subscription.gets_events_of(queue)
            if present and misses(subscription, queue, snapshot, all_read=all_read, without_events=without_events):
                subscription.client.owe(subscription, queue)
            yield all_read


def outcome_fields(job_id: bytes, snapshot: JobSnapshot | None) -> list[bytes]:
    """Return the fields of an event with the outcome that a hash shows; `removed` if there is no hash (None)."""
    fields = [b"jobId", job_id]
    if snapshot is None:
        return [b"event", b"removed", *fields]
    if snapshot.returnvalue is not UNSET:
        fields += [b"returnvalue", bytes(snapshot.returnvalue)]
    if snapshot.failed_reason is not UNSET:
        fields += [b"failedReason", snapshot.failed_reason.encode(errors="replace")]
    return [b"event", snapshot.state.encode(), *fields]
