/** What is watched, what the bridge is asked for, and whose a frame is. Nothing here waits. Rules in brackets: protocol.md. */

import { JobwsError } from './errors.js';
import { OUTCOMES, Subscription } from './subscription.js';

// What a message has beside its items, at most.
const FRAME = 128;
// Errors that pass by themselves, and when to ask again, in milliseconds.
export const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions'];
const soon = () => 500 + 1000 * Math.random();

/** What names a job. */
export const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);

export const bytes = (text) => new TextEncoder().encode(text).length;


/** Items in lists that the bridge takes. */
function lists(items, { maxMessage, maxSubscriptions }) {
  const all = [];
  let list = null;
  let size;
  for (const item of items) {
    const more = bytes(JSON.stringify(item)) + 1;
    if (!list || list.length >= maxSubscriptions || size + more > maxMessage) {
      all.push((list = []));
      size = FRAME;
    }
    list.push(item);
    size += more;
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
  let hello = null; // null: not connected
  let leaving = []; // what to unsubscribe
  let count = 0;
  const all = new Set(); // everything that is watched, across connections; at the end what gave its place away last
  const waiting = new Set(); // of it, what is still to be asked for
  const named = new Map(); // what this connection was asked for, by name [P1]
  const asked = new Map(); // ref -> the names in that request, in order, until it is answered

  /** A ref that no other request of this client has, or a name that no other subscription has. */
  const next = () => ++count;
  const acknowledged = () => [...named.values()].filter((each) => each.acknowledged);

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

  /** By another connection, or as if it were one. */
  function connected(greeting = hello) {
    disconnected();
    hello = greeting;
    for (const idle of [false, true]) for (const each of all) if (each.idle() === idle) want(each);
  }

  function disconnected() {
    hello = null;
    leaving = [];
    for (const each of [waiting, named, asked]) each.clear();
    for (const each of all) each.release();
  }

  /** Nothing will come for now. */
  function fail(error) {
    for (const each of [...all]) if (!each.watcher.stays) refuse(each, error);
  }

  /** Those that had a place longest give it to those that wait for one. */
  function turn() {
    for (const each of acknowledged().filter(({ idle }) => !idle()).slice(0, waiting.size)) {
      all.delete(each);
      all.add(each);
      renew(each);
    }
  }

  /** What to ask for now. */
  function requests() {
    if (!hello) return [];
    const { limits } = hello;
    const messages = lists(leaving.splice(0), limits).map((data) => ({ event: 'unsubscribe-job', ref: next(), data }));
    const items = [];
    // The bridge itself takes the places of those whose outcome was told [S10].
    let free = limits.maxSubscriptions;
    if (waiting.size) for (const { idle } of named.values()) free -= !idle();
    for (const each of waiting) {
      if (free-- <= 0) break;
      waiting.delete(each);
      const item = each.item(next());
      if (FRAME + bytes(JSON.stringify(item)) >= limits.maxMessage) {
        refuse(each, new JobwsError('it is too large for the bridge', 'too-large'));
        continue;
      }
      named.set(item.sub, each);
      items.push(item);
    }
    for (const data of lists(items, limits)) {
      const ref = next();
      asked.set(ref, data.map(({ sub }) => sub));
      messages.push({ event: 'subscribe-job', ref, data });
    }
    return messages;
  }

  function receive({ sub, ...frame }) {
    const { event, ref, data } = frame;
    const each = named.get(sub);
    if (event === 'ack') answered(ref, data);
    else if (event === 'error') answered(ref, { error: data });
    else if (event === 'pong') for (const each of acknowledged()) each.move(data.after ?? {});
    else if (event === 'gap' && sub === undefined) {
      const { queue, jobs } = data;
      for (const each of acknowledged())
        if ((each.queue ?? queue) === queue && (jobs?.includes(each.jobId) ?? true)) interrupt(each, frame, false);
    } else if (!each?.acknowledged) return; // nothing precedes its answer [P2]
    else if (event === 'gap') interrupt(each, frame, true);
    else if (data?.jobId !== undefined) hand(each, frame);
  }

  function answered(ref, { results = [], after, error, evicted = [] }) {
    asked.get(ref)?.forEach((name, index) => {
      const each = named.get(name); // undefined: it was left
      if (each) settle(each, after, error ? { error } : (results[index] ?? {}));
    });
    asked.delete(ref);
    for (const { sub } of evicted) {
      const each = named.get(sub);
      if (!each) continue;
      release(each, false);
      if (!each.idle()) want(each); // it was not told the outcome
    }
  }

  function settle(each, common, result) {
    const { queue, jobId, watcher } = each;
    const { error, unknown, gap } = result;
    if (error && PASSING.includes(error.code)) {
      release(each, false);
      setTimeout(() => all.has(each) && each.name === null && want(each), soon());
    } else if (error) refuse(each, new JobwsError(`${jobId}: ${error.message}`, error.code));
    if (error) return;
    const vanished = each.acknowledge(common, result);
    watcher.answer({ ...result, after: { ...each.after } }, !unknown || vanished.length);
    if (gap) watcher.deliver({ event: 'gap', data: { queue: queue ?? null, jobs: [jobId] } }, true);
    for (const gone of vanished)
      if (all.has(each)) hand(each, { event: 'removed', data: { queue: gone, jobId }, replayed: true });
  }

  /** A `gap`: its positions may be those of another stream [R6]. */
  function interrupt(each, frame, own) {
    const { queue, reason } = frame.data;
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
    next, join, leave, renew, connected, disconnected, fail, turn, requests, receive,
    size: () => all.size,
    awaited: () => asked.size > 0,
  };
}
