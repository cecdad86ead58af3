/** Watches whole queues. This module is loaded by pages that need it, beside `jobws.js`. Brackets: protocol.md. */

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

const gapOf = ({ queue, reason }) => ({ queue: queue === EVERY_QUEUE ? null : queue, reason });

/** Returns an async iterable of the events of whole queues. See jobws-queues.d.ts. */
export const watchQueue = ({ connection }, queues, { events, after, signal } = {}) => ({
  [Symbol.asyncIterator]: () =>
    iterate(connection, signal, (push, end) => {
      const { subscriptions } = connection;
      const watcher = (queue) => ({
        events,
        answer: ({ after, unknownQueue }) => push({ event: 'ack', data: { queue, after, unknownQueue } }),
        // The gap of an answer names no queue if it is about every queue.
        deliver: (frame) => push(frame.event === 'gap' ? { event: 'gap', data: gapOf(frame.data) } : frame),
        refuse: end,
        stopped: end,
      });
      const joined = [queues].flat().map((queue) => subscriptions.want(QueueSubscription(queue, watcher(queue), after)));
      return () => joined.forEach((each) => subscriptions.leave(each));
    }),
});
