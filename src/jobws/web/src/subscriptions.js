/** What is watched, what the bridge is asked for, and whose a frame is. Nothing here waits. Rules in brackets: protocol.md. */

import { JobUnknown, JobwsError } from './errors.js';
import { OUTCOMES, Subscription } from './subscription.js';

const LIMITS = { maxMessage: 262144, maxSubscriptions: 1000 };
// Errors that pass by themselves, and when to ask again, in milliseconds.
export const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions'];
const soon = () => 500 + 1000 * Math.random();
// What a message has beside its items, at most.
const FRAME = 128;

export const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);

export class Subscriptions {
  hello = null; // null: not connected
  #all = new Set(); // everything that is watched, across connections; at the end what gave its place away last
  #latest = new Map(); // of it, by job, the last one that others may join
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

  /** Those who want the same have one subscription, where it tells each what its own would; one that is `alone` has its own. */
  join(queue, jobId, watcher, alone) {
    const key = keyOf(queue, jobId);
    const latest = alone ? undefined : this.#latest.get(key);
    const subscription = latest?.takes(watcher) ? latest : new Subscription(queue, jobId, alone?.after, alone?.lines);
    subscription.watchers.add(watcher);
    if (subscription === latest) return latest;
    this.#all.add(subscription);
    if (!alone) this.#latest.set(key, subscription);
    this.#want(subscription);
    return subscription;
  }

  leave(subscription, watcher) {
    if (subscription.watchers.delete(watcher) && !subscription.watchers.size) this.#drop(subscription);
  }

  /** It goes on under another name, and misses nothing: its watcher wants something else, or others are to have its place. */
  renew(subscription) {
    this.#release(subscription);
    this.#want(subscription);
  }

  /** Nothing will come for now: whoever waits is told. Who stays comes back with the next connection. */
  fail(error) {
    this.disconnected();
    for (const subscription of [...this.#all]) this.#dismiss(subscription, ({ forever }) => !forever, error);
  }

  connected(hello) {
    this.hello = hello;
    for (const idle of [false, true]) for (const each of this.#all) if (each.idle === idle) this.#want(each);
  }

  disconnected() {
    this.hello = null;
    for (const each of [this.#waiting, this.#named, this.#asked]) each.clear();
    this.#leaving = [];
    for (const subscription of this.#all) subscription.leave();
  }

  /** Those that had a place longest give it to those that wait for one. */
  turn() {
    const held = [...this.#named.values()].filter(({ acknowledged, idle }) => acknowledged && !idle);
    for (const subscription of held.slice(0, this.#waiting.size)) {
      this.#all.delete(subscription);
      this.#all.add(subscription);
      this.renew(subscription);
    }
  }

  /** What to ask for now. */
  requests() {
    if (!this.hello) return [];
    const limits = { ...LIMITS, ...this.hello.limits };
    const messages = [];
    for (const data of this.#batches(this.#leaving.splice(0), limits)) messages.push({ event: 'unsubscribe-job', ref: this.next(), data });
    // The bridge itself takes the places of those whose outcome was told [S10].
    let free = limits.maxSubscriptions;
    if (this.#waiting.size) for (const { idle } of this.#named.values()) free -= !idle;
    const items = [];
    for (const subscription of this.#waiting) {
      if (free-- <= 0) break;
      this.#waiting.delete(subscription);
      const item = subscription.item(this.next());
      this.#named.set(item.sub, subscription);
      items.push(item);
    }
    for (const data of this.#batches(items, limits)) {
      const ref = this.next();
      this.#asked.set(ref, data.map(({ sub }) => sub));
      messages.push({ event: 'subscribe-job', ref, data });
    }
    return messages;
  }

  *#batches(items, { maxMessage, maxSubscriptions }) {
    let [batch, size] = [[], FRAME];
    for (const item of items) {
      const bytes = new TextEncoder().encode(JSON.stringify(item)).length + 1;
      if (FRAME + bytes > maxMessage) {
        this.#refuse(this.#named.get(item.sub), new JobwsError('this subscription is too large for the bridge', 'too-large'));
        continue;
      }
      if (batch.length >= maxSubscriptions || size + bytes > maxMessage) {
        yield batch;
        [batch, size] = [[], FRAME];
      }
      batch.push(item);
      size += bytes;
    }
    if (batch.length) yield batch;
  }

  receive({ sub, ...frame }) {
    const { event, ref, data } = frame;
    const subscription = this.#named.get(sub);
    if (event === 'ack' || event === 'error') this.#answered(ref, event === 'ack' ? data : { error: data });
    else if (event === 'pong') {
      for (const each of this.#named.values()) if (each.acknowledged) each.move(data.after ?? {});
    } else if (event === 'gap') {
      const own = sub !== undefined;
      for (const each of own ? [subscription] : [...this.#named.values()]) if (each?.interrupt(data, own)) each.hand(frame, true, own);
    } else if (subscription?.acknowledged && data?.jobId !== undefined) this.#hand(subscription, frame);
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
      if (!subscription) continue;
      this.#release(subscription, false);
      if (!subscription.idle) this.#want(subscription); // it was not told the outcome
    }
  }

  #settle(subscription, after, result) {
    const { error, unknown, gap } = result;
    const { queue, jobId } = subscription;
    if (error && !PASSING.includes(error.code)) return this.#refuse(subscription, new JobwsError(`${jobId}: ${error.message}`, error.code));
    if (error) {
      this.#release(subscription, false);
      setTimeout(() => this.#all.has(subscription) && subscription.name === null && this.#want(subscription), soon());
      return;
    }
    const vanished = subscription.acknowledge(after, result);
    for (const watcher of [...subscription.watchers]) watcher.answer?.({ ...result, after: { ...subscription.after } });
    if (gap) subscription.hand({ event: 'gap', data: { queue: queue ?? null, jobs: [jobId] } }, true, true);
    for (const each of vanished) this.#hand(subscription, { event: 'removed', data: { queue: each, jobId }, replayed: true });
    if (unknown && !vanished.length) this.#dismiss(subscription, ({ strict }) => strict, new JobUnknown(jobId, queue));
  }

  #hand(subscription, frame) {
    subscription.hand(frame, subscription.take(frame));
    // The bridge has left a subscription that was up to the outcome, too [S5].
    if (!subscription.watchers.size) this.#drop(subscription, !(subscription.until && OUTCOMES.includes(frame.event)));
  }

  #want(subscription) {
    this.#waiting.add(subscription);
    this.#changed();
  }

  /** Its name is no longer its own; `tell`: the bridge is to be told. */
  #release(subscription, tell = true) {
    const { name, queue, jobId } = subscription;
    if (!this.#named.delete(name)) return;
    if (tell) this.#leaving.push({ sub: name, jobId, queue });
    subscription.leave();
    this.#changed();
  }

  #drop(subscription, tell) {
    const key = keyOf(subscription.queue, subscription.jobId);
    this.#all.delete(subscription);
    this.#waiting.delete(subscription);
    if (this.#latest.get(key) === subscription) this.#latest.delete(key);
    this.#release(subscription, tell);
  }

  /** Those watchers are told that nothing will come. */
  #dismiss(subscription, which, error) {
    for (const watcher of [...subscription.watchers].filter(which)) {
      this.leave(subscription, watcher);
      watcher.refuse(error);
    }
  }

  #refuse(subscription, error) {
    this.#drop(subscription, false);
    this.#dismiss(subscription, () => true, error);
  }
}
