/** What is watched, what the bridge is asked for, and whose a frame is. Nothing here waits. Rules in brackets: protocol.md. */

import { JobwsError } from './errors.js';
import { OUTCOMES, Subscription } from './subscription.js';

// What a message has beside its items, at most.
const FRAME = 128;
// Errors that pass by themselves.
export const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions'];

/** What names a job. */
export const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);

export const bytes = (text) => new TextEncoder().encode(text).length;

/** Items in lists that the bridge takes; one that is too large for it is alone. */
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
 * `changed` is called when there is something to ask for. A watcher has `events` (beside outcomes), `logs`, `until` (it ends
 * with the first outcome), `stays` (also when nothing will come for now), and is called: `deliver` with a frame, and whether
 * it is of this subscription alone; `answer` with an answer, and whether there is or was such a job; `refuse` with an error,
 * which is the end.
 */
export function Subscriptions(changed) {
  let limits;
  let count = 0;
  const all = new Set(); // across connections
  const waiting = new Set(); // of them, what is still to be asked for
  const named = new Map(); // what this connection was asked for, by name [P1]
  const asked = new Map(); // ref -> the names in that request, in order, until it is answered
  const leaving = []; // items of the next `unsubscribe-job`

  /** A ref that no other request of this client has, or a name that no other subscription has. */
  const next = () => ++count;
  /** Those of which something is expected. */
  const busy = () => [...named.values()].filter(({ idle }) => !idle());

  function want(each) {
    waiting.add(each);
    changed();
  }

  /** Its name is no longer its own. `tell`: the bridge is to be told. */
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

  /** It goes on under another name, and misses nothing: its watcher wants something else, or others are to have its place. */
  function renew(each) {
    release(each);
    want(each);
  }

  /** Everything is asked for again: by another connection, whose limits those are, or as if it were one. */
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

  /** Nothing will come for now. */
  function fail(error) {
    for (const each of all) each.watcher.stays || refuse(each, error);
  }

  /** Those that had a place longest give it to those that wait for one. */
  function turn() {
    busy().filter(({ acknowledged }) => acknowledged).slice(0, waiting.size).forEach(renew);
  }

  /** What to ask for now. */
  function unsent() {
    const message = (event, data) => ({ event, ref: next(), data });
    const messages = lists(leaving.splice(0), limits).map((data) => message('unsubscribe-job', data));
    const items = [];
    // The bridge itself takes the places of those whose outcome was told [S10].
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
        if (!each?.acknowledged) continue; // nothing precedes its answer [P2]
        else if (event === 'pong') each.move(data.after ?? {});
        else if (event === 'gap') interrupt(each, frame, sub !== undefined);
        else if (sub !== undefined && data?.jobId !== undefined) hand(each, frame);
  }

  function answered(ref, { results = [], after, error, evicted = [] }) {
    asked.get(ref)?.forEach((name, index) => {
      const each = named.get(name); // undefined: it was left
      if (each) settle(each, after, error ? { error } : (results[index] ?? {}));
    });
    asked.delete(ref);
    for (const each of evicted.flatMap(({ sub }) => named.get(sub) ?? [])) {
      release(each, false);
      if (!each.idle()) want(each); // it was not told the outcome
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

  /** A `gap`, if it concerns this one: its positions may be those of another stream [R6]. */
  function interrupt(each, frame, own) {
    const { queue, jobs, reason } = frame.data;
    if ((each.queue ?? queue) !== queue || (jobs && !jobs.includes(each.jobId))) return;
    if (reason !== 'trimmed') each.after[queue] = '0-0';
    each.watcher.deliver(frame, own);
  }

  function hand(each, frame) {
    const { watcher } = each;
    const news = each.take(frame);
    // The bridge has left, too, unless it is the client that found out [S5].
    if (watcher.until && OUTCOMES.includes(frame.event)) leave(each, !frame.id);
    if (news) watcher.deliver(frame, true);
  }

  return {
    next, join, leave, renew, restart, lost, fail, turn, unsent, receive,
    size: () => all.size,
    awaited: () => asked.size,
  };
}
