/** What is watched, what the bridge is asked for, and whose a frame is. Nothing here waits. Rules in brackets: protocol.md. */

import { JobUnknown, JobwsError } from './errors.js';
import { OUTCOMES, Subscription } from './subscription.js';

const LIMITS = { maxMessage: 262144, maxSubscriptions: 1000 };
// Errors that pass by themselves, and when to ask again, in milliseconds.
export const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions'];
const later = () => 500 + 1000 * Math.random();
// What a message has beside its items, at most.
const FRAME = 128;

export const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);

export class Subscriptions {
  hello = null; // null: not connected
  #all = new Set(); // everything that is watched, across connections
  #latest = new Map(); // of it, by job, the last one that others may join
  #waiting = new Set(); // of it, what is still to be asked for
  #idle = new Set(); // and, after all others, that of which nothing is expected
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

  /** A ref that no other request of this client has, and a name that no other subscription has. */
  next() {
    return ++this.#count;
  }

  // ---- watchers ----

  /** Those who want the same have one subscription, where that tells each what its own would; one that is `alone` has its own. */
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

  /** Its watcher wants something else: it goes on under another name, and misses nothing. */
  renew(subscription) {
    this.#release(subscription);
    this.#want(subscription);
  }

  /** Nothing will come for now: whoever waits is told. Who stays comes back with the next connection. */
  fail(error) {
    this.disconnected();
    for (const subscription of [...this.#all])
      for (const watcher of [...subscription.watchers].filter(({ forever }) => !forever)) {
        this.leave(subscription, watcher);
        watcher.refuse(error);
      }
  }

  // ---- the connection ----

  connected(hello) {
    this.hello = hello;
    for (const subscription of this.#all) this.#want(subscription);
  }

  disconnected() {
    this.hello = null;
    for (const each of [this.#waiting, this.#idle, this.#named, this.#asked]) each.clear();
    this.#leaving = [];
    for (const subscription of this.#all) subscription.leave();
  }

  /** What to ask for now. `turn`: those that wait for a place get those of others. */
  requests(turn = false) {
    if (!this.hello) return [];
    const limits = { ...LIMITS, ...this.hello.limits };
    const free = () => limits.maxSubscriptions - this.#named.size;
    this.#makePlace(free(), turn);
    const messages = [];
    const leaving = this.#leaving;
    this.#leaving = [];
    for (const data of this.#batches(leaving, limits)) messages.push({ event: 'unsubscribe-job', ref: this.next(), data });
    const items = [];
    for (const queue of [this.#waiting, this.#idle])
      for (const subscription of queue) {
        if (free() <= 0) break;
        queue.delete(subscription);
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

  /** Of more than the bridge takes, those of which nothing is expected give their places away; in turn, the oldest. */
  #makePlace(free, turn) {
    let wanted = this.#waiting.size - free;
    if (wanted <= 0) return;
    const held = [...this.#named.values()].filter(({ acknowledged }) => acknowledged);
    for (const subscription of [...held.filter(({ idle }) => idle), ...(turn ? held.filter(({ idle }) => !idle) : [])]) {
      if (wanted-- <= 0) break;
      this.#release(subscription);
      this.#all.delete(subscription); // it is the last one now
      this.#all.add(subscription);
      this.#want(subscription);
    }
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

  // ---- what comes ----

  receive({ sub, ...frame }) {
    const { event, ref, data } = frame;
    const subscription = this.#named.get(sub);
    if (event === 'ack' || event === 'error') this.#answered(ref, event === 'error' ? { results: [], error: data } : data);
    else if (event === 'pong') {
      for (const each of this.#named.values()) if (each.acknowledged) each.move(data.after ?? {});
    } else if (event === 'gap') {
      const own = sub !== undefined;
      const concerned = own ? [subscription] : [...this.#named.values()];
      for (const each of concerned) if (each?.interrupt(data, own)) each.hand(frame, true, own);
    } else if (subscription?.acknowledged && data?.jobId !== undefined) this.#hand(subscription, frame);
  }

  #answered(ref, { results, after, error, evicted = [] }) {
    const names = this.#asked.get(ref) ?? [];
    this.#asked.delete(ref);
    names.forEach((name, index) => {
      const subscription = this.#named.get(name);
      if (subscription) this.#settle(subscription, after, error ? { error } : (results?.[index] ?? {})); // else it was left
    });
    for (const { sub } of evicted) {
      const subscription = this.#named.get(sub);
      if (!subscription) continue;
      this.#release(subscription, false);
      this.#want(subscription); // who is still there wants more [S10]
    }
  }

  #settle(subscription, after, result) {
    const { error, unknown, gap } = result;
    const { queue, jobId } = subscription;
    if (error && PASSING.includes(error.code)) {
      this.#release(subscription, false);
      setTimeout(() => this.#all.has(subscription) && subscription.name === null && this.#want(subscription), later());
    } else if (error) this.#refuse(subscription, new JobwsError(`${jobId}: ${error.message}`, error.code));
    if (error) return;
    const vanished = subscription.acknowledge(after, result);
    for (const watcher of [...subscription.watchers]) watcher.answer?.({ ...result, after: { ...subscription.after } });
    if (gap) subscription.hand({ event: 'gap', data: { queue: queue ?? null, jobs: [jobId] } }, true, true);
    for (const each of vanished) this.#hand(subscription, { event: 'removed', data: { queue: each, jobId }, replayed: true });
    if (!unknown || vanished.length) return;
    for (const watcher of [...subscription.watchers].filter(({ strict }) => strict)) {
      this.leave(subscription, watcher);
      watcher.refuse(new JobUnknown(jobId, queue));
    }
  }

  #hand(subscription, frame) {
    const news = subscription.take(frame);
    subscription.hand(frame, news);
    // The bridge has left a subscription that was up to the outcome, too [S5].
    if (OUTCOMES.includes(frame.event) && !subscription.watchers.size) this.#drop(subscription, !subscription.until);
  }

  // ---- places ----

  #want(subscription) {
    (subscription.idle ? this.#idle : this.#waiting).add(subscription);
    this.#changed();
  }

  #release(subscription, tell = true) {
    const { name, queue, jobId } = subscription;
    if (!this.#named.delete(name)) return;
    if (tell) this.#leaving.push({ sub: name, jobId, queue });
    subscription.leave();
    this.#changed();
  }

  #drop(subscription, tell) {
    const key = keyOf(subscription.queue, subscription.jobId);
    for (const each of [this.#all, this.#waiting, this.#idle]) each.delete(subscription);
    if (this.#latest.get(key) === subscription) this.#latest.delete(key);
    this.#release(subscription, tell);
  }

  #refuse(subscription, error) {
    this.#drop(subscription, false);
    for (const watcher of [...subscription.watchers]) watcher.refuse(error);
  }
}
