/** The subscriptions of a client: makes requests, and passes each frame to its subscription. Brackets: protocol.md. */

import { JobwsError } from './errors.js';
import { OUTCOMES, Subscription } from './subscription.js';

// How many bytes a message has in addition to its items, at most.
const FRAME = 128;
// Temporary errors.
export const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions'];

/** Returns a key for a job of a queue. */
export const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);

export const bytes = (text) => new TextEncoder().encode(text).length;

/** Splits items into lists within the bridge's limits. An item that is too large is in a list of its own. */
function lists(items, { maxMessage, maxSubscriptions }) {
  const all = [];
  let size = Infinity;
  for (const item of items) {
    const more = bytes(JSON.stringify(item)) + 1;
    size += more;
    if (size > maxMessage || all.at(-1).length >= maxSubscriptions) {
      all.push([]);
      size = FRAME + more;
    }
    all.at(-1).push(item);
  }
  return all;
}

/**
 * Calls `changed` when there is a request to send. A watcher has `events` (in addition to outcomes), `logs`, `until` (whether
 * it ends with the first outcome), `stays` (whether it stays when the connection stops), and callbacks:
 * - `deliver(frame, own)`: a frame, and whether it is for this subscription alone;
 * - `answer(result, known)`: an answer, and whether the job exists or did exist;
 * - `refuse(error)`: the error that ends the subscription.
 */
export function Subscriptions(changed) {
  let limits;
  let count = 0;
  const all = new Set(); // all subscriptions, across connections
  const waiting = new Set(); // subscriptions that must be requested
  const named = new Map(); // subscriptions that were requested on this connection, by name [P1]
  const asked = new Map(); // by ref of each unanswered request, the names in it, in order
  const leaving = []; // items of the next `unsubscribe-job`

  /** Returns a new number, for the ref of a request or the name of a subscription. */
  const next = () => ++count;
  /** Returns the requested subscriptions whose job has not ended. */
  const busy = () => [...named.values()].filter(({ idle }) => !idle());

  function want(each) {
    waiting.add(each);
    changed();
  }

  /** Take the name of a subscription away. With `tell`, unsubscribe it at the bridge. */
  function release(each, tell = true) {
    const { name: sub, queue, jobId } = each;
    if (!named.delete(sub)) return;
    if (tell) leaving.push({ sub, jobId, queue });
    each.release();
    changed();
  }

  function join(...how) {
    const each = Subscription(...how);
    all.add(each);
    want(each);
    return each;
  }

  function leave(each, tell) {
    all.delete(each);
    waiting.delete(each);
    release(each, tell);
  }

  function refuse(each, error) {
    leave(each, false);
    each.watcher.refuse(error);
  }

  /** Request a subscription again under a new name, for other events or because others need its place. It misses nothing. */
  function renew(each) {
    release(each);
    want(each);
  }

  /** Request all subscriptions again, on a new connection with the limits `given`, or as on a new connection. */
  function restart(given = limits) {
    limits = given;
    lost();
    [...all].sort((a, b) => a.idle() - b.idle()).forEach(want);
  }

  function lost() {
    leaving.length = 0;
    for (const each of [waiting, named, asked]) each.clear();
    for (const each of all) each.release();
  }

  /** Refuse all watchers except those that stay, since the connection stops. */
  function fail(error) {
    for (const each of all) each.watcher.stays || refuse(each, error);
  }

  /** Let the oldest subscriptions give their places to those that wait. */
  function turn() {
    busy().filter(({ acknowledged }) => acknowledged).slice(0, waiting.size).forEach(renew);
  }

  /** Returns the messages to send now. */
  function unsent() {
    const message = (event, data) => ({ event, ref: next(), data });
    const messages = lists(leaving.splice(0), limits).map((data) => message('unsubscribe-job', data));
    const items = [];
    // If places are scarce, the bridge evicts subscriptions whose job has ended [S10], so they do not count.
    let free = limits.maxSubscriptions - (waiting.size && busy().length);
    for (const each of waiting) {
      if (free-- <= 0) break;
      waiting.delete(each);
      const item = each.item(next());
      named.set(item.sub, each);
      items.push(item);
    }
    for (const data of lists(items, limits)) {
      const request = message('subscribe-job', data);
      asked.set(request.ref, data.map(({ sub }) => sub));
      if (bytes(JSON.stringify(request)) > limits.maxMessage)
        answered(request.ref, { error: { code: 'too-large', message: 'too large for the bridge' } });
      else messages.push(request);
    }
    return messages;
  }

  function receive({ sub, ...frame }) {
    const { event, ref, data } = frame;
    if (event === 'ack') answered(ref, data);
    else if (event === 'error') answered(ref, { error: data });
    else
      for (const each of sub === undefined ? named.values() : [named.get(sub)])
        if (!each?.acknowledged) continue; // no frame precedes the answer [P2]
        else if (event === 'pong') each.move(data.after ?? {});
        else if (event === 'gap') interrupt(each, frame, sub !== undefined);
        else if (sub !== undefined && data?.jobId !== undefined) hand(each, frame);
  }

  function answered(ref, { results = [], after, error, evicted = [] }) {
    asked.get(ref)?.forEach((name, index) => {
      const each = named.get(name); // undefined if the subscription has ended
      if (each) settle(each, after, error ? { error } : (results[index] ?? {}));
    });
    asked.delete(ref);
    for (const each of evicted.flatMap(({ sub }) => named.get(sub) ?? [])) {
      release(each, false);
      if (!each.idle()) want(each); // its outcome has not come
    }
  }

  function settle(each, common, result) {
    const { queue, jobId, watcher } = each;
    const { error, unknown, gap } = result;
    if (PASSING.includes(error?.code)) {
      release(each, false);
      return setTimeout(() => all.has(each) && each.name === null && want(each), 500 + 1000 * Math.random());
    }
    if (error) return refuse(each, new JobwsError(`${jobId}: ${error.message}`, error.code));
    const vanished = each.acknowledge(common, result);
    watcher.answer({ ...result, after: { ...each.after } }, !unknown || vanished.length);
    if (gap) watcher.deliver({ event: 'gap', data: { queue: queue ?? null, jobs: [jobId] } }, true);
    for (const gone of vanished)
      if (all.has(each)) hand(each, { event: 'removed', data: { queue: gone, jobId }, replayed: true });
  }

  /** Deliver a `gap` if it concerns this subscription. Unless the stream was trimmed, positions begin again [R6]. */
  function interrupt(each, frame, own) {
    const { queue, jobs, reason } = frame.data;
    if ((each.queue ?? queue) !== queue || (jobs && !jobs.includes(each.jobId))) return;
    if (reason !== 'trimmed') each.after[queue] = '0-0';
    each.watcher.deliver(frame, own);
  }

  function hand(each, frame) {
    const { watcher } = each;
    const news = each.take(frame);
    // The bridge has ended the subscription, too, unless the client itself made this event [S5].
    if (watcher.until && OUTCOMES.includes(frame.event)) leave(each, !frame.id);
    if (news) watcher.deliver(frame, true);
  }

  return {
    next, join, leave, renew, restart, lost, fail, turn, unsent, receive,
    size: () => all.size,
    awaited: () => asked.size,
  };
}
