/** The subscriptions of a client: makes requests, and passes each frame to its subscription. Brackets name rules of protocol.md. */

import { JobwsError } from './errors.js';
import { OUTCOMES, Subscription } from './subscription.js';

export const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions', 'expired']; // temporary errors
export const keyOf = (...of) => JSON.stringify(of); // a key for a job of a queue
export const bytes = (text) => new TextEncoder().encode(text).length;

/** Returns a position, which is two unsigned integers, as one number, without the suffix after `~` [E4]. */
const number = (position) => ((a, b) => (BigInt(a) << 64n) + BigInt(b))(...position.split(/[-~]/));

/**
 * Calls `changed` when there is a request to send. A watcher has `events` (in addition to outcomes), `logs`, `children`,
 * `until` (whether it ends with the first outcome), and callbacks:
 * - `deliver(frame, own)`: a frame, and whether it is for this subscription alone;
 * - `answer(result, known)`: an answer, and whether the job exists or did exist;
 * - `refuse(error)`: the error that ends the subscription;
 * - `stopped(error)`: the connection stops, because of this error. A watcher that does not leave stays for the next one.
 */
export function Subscriptions(changed) {
  let limits;
  let count = 0;
  const all = new Set(); // all subscriptions, across connections
  const waiting = new Set(); // subscriptions that must be requested
  const named = new Map(); // subscriptions that were requested on this connection, by name [P1]
  const asked = new Map(); // the items of unanswered requests, by ref
  const leaving = []; // items of the next `unsubscribe-…`

  const next = () => ++count; // for the ref of a request, or the name of a subscription
  const busy = () => [...named.values()].filter(({ idle }) => !idle()); // requested, and the job has not ended

  /** Request a subscription under a new name, also if it has one. It misses nothing. */
  function want(each) {
    release(each);
    all.add(each);
    waiting.add(each);
    return each;
  }

  /** Take the name of a subscription away. With `tell`, unsubscribe it at the bridge. */
  function release(each, tell = true) {
    if (named.delete(each.name) && tell) leaving.push({ sub: each.name, jobId: each.jobId, queue: each.queue });
    each.name = null;
    each.acknowledged = false;
    changed();
  }

  function leave(each, tell) {
    all.delete(each);
    waiting.delete(each);
    release(each, tell);
  }

  /** Let the oldest subscriptions give their places to those that wait. */
  function turn() {
    busy().filter(({ acknowledged }) => acknowledged).slice(0, waiting.size).forEach(want);
  }

  /** Returns messages with the items: those about jobs, and those about whole queues, which have no `jobId`. */
  const both = (verb, items) =>
    [...messages(`${verb}-job`, items.filter(({ jobId }) => jobId)), ...messages(`${verb}-queue`, items.filter(({ jobId }) => !jobId))];

  /** Returns messages of this event with the items. A list that is too large for the bridge becomes two. */
  function messages(event, items) {
    if (!items.length) return [];
    const message = { event, ref: next(), data: items };
    const middle = items.length >> 1;
    const tooLarge = bytes(JSON.stringify(message)) > limits.maxMessage;
    if (middle && (tooLarge || items.length > limits.maxSubscriptions))
      return [items.slice(0, middle), items.slice(middle)].flatMap((half) => messages(event, half));
    asked.set(message.ref, items);
    if (tooLarge) answered(message.ref, { error: { code: 'too-large', message: 'too large for the bridge' } });
    return tooLarge ? [] : [message];
  }

  /** Returns the messages to send now. */
  function unsent() {
    // If places are scarce, the bridge evicts subscriptions whose job has ended [S10], so they do not count.
    const free = limits.maxSubscriptions - (waiting.size && busy().length);
    const items = [...waiting].slice(0, Math.max(0, free)).map((each) => {
      waiting.delete(each);
      named.set((each.name = next()), each);
      return each.item();
    });
    return [...both('unsubscribe', leaving.splice(0)), ...both('subscribe', items)];
  }

  function receive({ sub, ...frame }) {
    const { event, ref, data } = frame;
    const own = sub !== undefined;
    if (event === 'ack' || event === 'error') answered(ref, event === 'ack' ? data : { error: data });
    else
      for (const each of own ? [named.get(sub)] : named.values())
        if (!each?.acknowledged) continue; // no frame precedes the answer [P2]
        else if (own && event === 'ended') settle(each, 0, { error: data });
        else if (event === 'pong') move(each, data.after ?? {});
        else if (event === 'gap' ? each.concerns(data) : own && data?.queue) hand(each, frame, own);
  }

  /** Take the positions of a `pong` that are later than the own ones. Keep the suffix after `~` [P4]. */
  function move({ queue, anywhere, after: own }, after) {
    for (const each of anywhere ? Object.keys(after) : [queue]) {
      const [to, from] = [after[each], own[each]];
      if (to && (!from || number(to) > number(from))) own[each] = to + (from?.match(/~.*/s) ?? '');
    }
  }

  function answered(ref, { results = [], after, error, evicted = [] }) {
    asked.get(ref)?.forEach(({ sub }, index) => {
      if (named.has(sub)) settle(named.get(sub), after, error ? { error } : (results[index] ?? {}));
    });
    asked.delete(ref);
    for (const each of evicted.flatMap(({ sub }) => named.get(sub) ?? [])) {
      release(each, false);
      if (!each.idle()) want(each); // its outcome has not come
    }
  }

  function settle(each, common, result) {
    const { queue, jobId, watcher, anywhere } = each;
    const { error, unknown, gap } = result;
    if (error) {
      release(each, false); // the bridge has ended it
      if (PASSING.includes(error.code)) return setTimeout(() => all.has(each) && !each.name && want(each), 500 + 1000 * Math.random());
      leave(each);
      return watcher.refuse(new JobwsError(`${jobId ?? queue}: ${error.message}`, error.code));
    }
    const after = { ...common, ...result.after };
    each.acknowledged = true;
    each.after = anywhere ? after : { [queue]: after[queue] }; // replaces all earlier positions [P5]
    const vanished = each.acknowledge(result);
    watcher.answer({ ...result, after: { ...each.after } }, !unknown || vanished.length);
    if (gap) watcher.deliver({ event: 'gap', data: { queue: queue ?? null, jobs: [jobId] } }, true);
    for (const gone of vanished)
      if (all.has(each)) hand(each, { event: 'removed', data: { queue: gone, jobId }, replayed: true });
  }

  function hand(each, frame, own = true) {
    const { event, id, data: { queue, reason } } = frame;
    // After a `gap`, unless the stream was trimmed, positions begin again [R6].
    if (event === 'gap' && reason !== 'trimmed') each.after[queue] = '0-0';
    if (id) each.after[queue] = id;
    each.take(frame);
    // The bridge has ended the subscription, too, unless the client itself made this event [S5].
    if (each.watcher.until && OUTCOMES.includes(event) && !frame.parent) leave(each, !id);
    each.watcher.deliver(frame, own);
  }

  return {
    next, leave, want, turn, unsent, receive,
    begin: (...how) => want(Subscription(...how)),
    /** Forget what was requested, and request all subscriptions as on a new connection, which has the limits `given`. */
    again(given = limits) {
      limits = given;
      for (const each of [named, waiting, asked]) each.clear();
      leaving.length = 0;
      [...all].sort((a, b) => a.idle() - b.idle()).forEach(want);
    },
    fail: (error) => all.forEach(({ watcher }) => watcher.stopped(error)),
  };
}
