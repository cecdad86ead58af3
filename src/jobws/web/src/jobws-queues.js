/** Watches whole queues. This module is loaded by pages that need it, beside `jobws.js`. Brackets name rules of protocol.md. */

import { iterate } from './iterate.js';

const EVERY_QUEUE = '*';

/** One subscription to a queue, or to every queue, across connections. `Subscriptions` keeps its positions. */
function QueueSubscription(queue, watcher, after) {
  const self = {
    queue,
    watcher,
    anywhere: queue === EVERY_QUEUE,
    after,
    name: null, // on this connection [P1]; null if it was not requested
    acknowledged: false,
    idle: () => false,
    /** Returns the item of `subscribe-queue` [S9]. */
    item: () => ({ sub: self.name, queue, events: watcher.events, after: self.after }),
    /** Take the answer. No job vanishes from a whole queue. */
    acknowledge: () => [],
    take() {},
    /** Whether a `gap` concerns this subscription: one of particular jobs does not [R6]. */
    concerns: ({ queue: of, jobs }) => !jobs && (self.anywhere || of === queue),
  };
  return self;
}

// The gap of an answer names no queue if it is about every queue.
const gapOf = ({ queue, reason }) => ({ queue: queue === EVERY_QUEUE ? null : queue, reason });

/** Watches of the same queue and events, which share one subscription: a connection may have 16 to a queue [S6]. */
function Group(subscriptions, queue, events, after, over) {
  const members = new Set();
  const numbers = new Map(); // by queue, the last `queue-stats`
  const tell = (frame) => members.forEach(({ push }) => push(frame));
  /** Tell a member once that everything after these positions follows. */
  function begin(member, { after, unknownQueue }) {
    if (!member.begun) member.push({ event: 'ack', data: { queue, after: { ...after }, unknownQueue } });
    member.begun = true;
  }
  const subscription = QueueSubscription(
    queue,
    {
      events,
      answer: (result) => members.forEach((each) => begin(each, result)),
      deliver(frame) {
        const { event, data } = frame;
        if (event === 'queue-stats') numbers.set(data.queue, frame);
        tell(event === 'gap' ? { event, data: gapOf(data) } : frame);
      },
      refuse: (error) => members.forEach(({ end }) => end(error)),
      stopped: (error) => members.forEach(({ end }) => end(error)),
    },
    after,
  );
  subscriptions.want(subscription);
  return {
    /** Add a member. One that comes later begins where the others are. Returns a function that removes it. */
    add(member) {
      members.add(member);
      if (subscription.acknowledged) begin(member, subscription);
      if (member.begun) for (const frame of numbers.values()) member.push(frame);
      return () => {
        if (!members.delete(member) || members.size) return;
        over();
        subscriptions.leave(subscription);
      };
    },
  };
}

const groups = new WeakMap(); // by a client's subscriptions, by queue and events

function share({ subscriptions }, queue, events, after, member) {
  const shared = groups.get(subscriptions) ?? new Map();
  groups.set(subscriptions, shared);
  const key = after ? Symbol(queue) : JSON.stringify([queue, events]); // one with `after` begins elsewhere
  const group = shared.get(key) ?? Group(subscriptions, queue, events, after, () => shared.delete(key));
  shared.set(key, group);
  return group.add(member);
}

/** Returns an async iterable of the events of whole queues. See jobws-queues.d.ts. */
export const watchQueue = ({ connection }, queues, { events, after, signal } = {}) => ({
  [Symbol.asyncIterator]: () =>
    iterate(connection, signal, (push, end) => {
      const leave = [queues].flat().map((queue) => share(connection, queue, events, after, { push, end }));
      return () => leave.forEach((each) => each());
    }),
});
