/** What is watched, what the bridge is asked for, and whose a frame is. Nothing here waits. Rules in brackets: protocol.md. */

import { JobwsError } from './errors.js';
import { OUTCOMES, Subscription } from './subscription.js';

const LIMITS = { maxMessage: 262144, maxSubscriptions: 1000 };
// Errors that pass by themselves, and when to ask again, in milliseconds.
export const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions'];
const soon = () => 500 + 1000 * Math.random();

/** Items in lists that the bridge takes; beside them a message has 128 bytes at most. */
function* lists(items, { maxMessage, maxSubscriptions }) {
  let [list, size] = [[], 128];
  for (const item of items) {
    const bytes = new TextEncoder().encode(JSON.stringify(item)).length + 1;
    if (list.length && (list.length >= maxSubscriptions || size + bytes > maxMessage)) {
      yield list;
      [list, size] = [[], 128];
    }
    list.push(item);
    size += bytes;
  }
  if (list.length) yield list;
}

/**
 * A watcher has `events` (beside outcomes), `logs`, `until` (it ends with the first outcome), `stays` (also when nothing
 * will come for now), and is called: `deliver` with a frame, and whether it is of this subscription alone; `answer` with
 * an answer, and whether there is or was such a job; `refuse` with an error, which is the end.
 */
export class Subscriptions {
  hello = null; // null: not connected
  #all = new Set(); // everything that is watched, across connections; at the end what gave its place away last
  #waiting = new Set(); // of it, what is still to be asked for
  #named = new Map(); // what this connection was asked for, by name [P1]
  #asked = new Map(); // ref -> the names in that request, in order, until it is answered
  #leaving = [];
  #count = 0;
  #changed;

  /** `changed` is called when there is something to ask for. */
  constructor(changed) {
    this.#changed = changed;
  }

  get size() {
    return this.#all.size;
  }

  get awaited() {
    return this.#asked.size > 0;
  }

  /** A ref that no other request of this client has, or a name that no other subscription has. */
  next() {
    return ++this.#count;
  }

  join(...how) {
    const subscription = new Subscription(...how);
    this.#all.add(subscription);
    this.#want(subscription);
    return subscription;
  }

  /** `tell`: the bridge is to be told. */
  leave(subscription, tell = true) {
    this.#all.delete(subscription);
    this.#waiting.delete(subscription);
    this.#release(subscription, tell);
  }

  /** It goes on under another name, and misses nothing: its watcher wants something else, or others are to have its place. */
  renew(subscription) {
    this.#release(subscription);
    this.#want(subscription);
  }

  connected(hello) {
    this.hello = hello;
    for (const idle of [false, true]) for (const each of this.#all) if (each.idle === idle) this.#want(each);
  }

  disconnected() {
    this.hello = null;
    this.#leaving = [];
    for (const each of [this.#waiting, this.#named, this.#asked]) each.clear();
    for (const each of this.#all) each.leave();
  }

  /** Nothing will come for now. */
  fail(error) {
    for (const each of [...this.#all]) if (!each.watcher.stays) this.#refuse(each, error);
  }

  /** Those that had a place longest give it to those that wait for one. */
  turn() {
    const held = [...this.#named.values()].filter(({ acknowledged, idle }) => acknowledged && !idle);
    for (const each of held.slice(0, this.#waiting.size)) {
      this.#all.delete(each);
      this.#all.add(each);
      this.renew(each);
    }
  }

  /** What to ask for now. */
  requests() {
    if (!this.hello) return [];
    const limits = { ...LIMITS, ...this.hello.limits };
    const messages = [...lists(this.#leaving.splice(0), limits)].map((data) => ({ event: 'unsubscribe-job', ref: this.next(), data }));
    const items = [];
    // The bridge itself takes the places of those whose outcome was told [S10].
    let free = limits.maxSubscriptions;
    if (this.#waiting.size) for (const { idle } of this.#named.values()) free -= !idle;
    for (const each of this.#waiting) {
      if (free-- <= 0) break;
      this.#waiting.delete(each);
      const name = this.next();
      this.#named.set(name, each);
      items.push(each.item(name));
    }
    for (const data of lists(items, limits)) {
      const ref = this.next();
      this.#asked.set(ref, data.map(({ sub }) => sub));
      messages.push({ event: 'subscribe-job', ref, data });
    }
    return messages;
  }

  receive({ sub, ...frame }) {
    const { event, ref, data } = frame;
    const subscription = this.#named.get(sub);
    const acknowledged = () => [...this.#named.values()].filter((each) => each.acknowledged);
    if (event === 'ack' || event === 'error') this.#answered(ref, event === 'ack' ? data : { error: data });
    else if (event === 'pong') for (const each of acknowledged()) each.move(data.after ?? {});
    else if (event === 'gap' && sub === undefined) {
      const { queue, jobs } = data;
      for (const each of acknowledged())
        if ((each.queue ?? queue) === queue && (jobs?.includes(each.jobId) ?? true)) this.#interrupt(each, frame, false);
    } else if (!subscription?.acknowledged) return; // nothing precedes its answer [P2]
    else if (event === 'gap') this.#interrupt(subscription, frame, true);
    else if (data?.jobId !== undefined) this.#hand(subscription, frame);
  }

  #interrupt(subscription, frame, own) {
    subscription.interrupt(frame.data);
    subscription.watcher.deliver(frame, own);
  }

  #answered(ref, { results = [], after, error, evicted = [] }) {
    const names = this.#asked.get(ref) ?? [];
    this.#asked.delete(ref);
    names.forEach((name, index) => {
      const subscription = this.#named.get(name); // undefined: it was left
      if (subscription) this.#settle(subscription, after, error ? { error } : (results[index] ?? {}));
    });
    for (const { sub } of evicted) {
      const subscription = this.#named.get(sub);
      this.#named.delete(sub);
      subscription?.leave();
      if (subscription?.idle === false) this.#want(subscription); // it was not told the outcome
    }
  }

  #settle(subscription, after, result) {
    const { queue, jobId, watcher } = subscription;
    const { error, unknown } = result;
    if (error && PASSING.includes(error.code)) {
      this.#release(subscription, false);
      setTimeout(() => this.#all.has(subscription) && subscription.name === null && this.#want(subscription), soon());
    } else if (error) this.#refuse(subscription, new JobwsError(`${jobId}: ${error.message}`, error.code));
    if (error) return;
    const vanished = subscription.acknowledge(after, result);
    watcher.answer({ ...result, after: { ...subscription.after } }, !unknown || vanished.length > 0);
    if (result.gap) watcher.deliver({ event: 'gap', data: { queue: queue ?? null, jobs: [jobId] } }, true);
    for (const each of vanished)
      if (this.#all.has(subscription)) this.#hand(subscription, { event: 'removed', data: { queue: each, jobId }, replayed: true });
  }

  #hand(subscription, frame) {
    const { watcher } = subscription;
    const news = subscription.take(frame);
    if (watcher.until && OUTCOMES.includes(frame.event)) this.leave(subscription, !frame.id && frame.replayed);
    if (news) watcher.deliver(frame, true);
  }

  #want(subscription) {
    this.#waiting.add(subscription);
    this.#changed();
  }

  /** Its name is no longer its own. */
  #release(subscription, tell = true) {
    const { name: sub, queue, jobId } = subscription;
    if (!this.#named.delete(sub)) return;
    if (tell) this.#leaving.push({ sub, jobId, queue });
    subscription.leave();
    this.#changed();
  }

  #refuse(subscription, error) {
    this.leave(subscription, false);
    subscription.watcher.refuse(error);
  }
}
