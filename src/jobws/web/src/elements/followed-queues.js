/** The queues whose numbers the elements of a page show. Elements that show the same queue share its subscription. */

import { watchQueue } from '../jobws-queues.js';
import { sentence } from './sentence.js';

/**
 * Returns the function `followQueue(queue, listener)`. It calls `listener({stats, at, reason, missing})` after each change:
 * `stats` are the numbers of rule E12 of protocol.md, null before the first ones came, and `at` is when they came, in epoch
 * milliseconds. `missing` is true if there is no such queue. `reason` says why the bridge does not tell, or is ''. The function
 * `followQueue` returns a function that ends this.
 */
export function FollowedQueues(jobs) {
  const followed = new Map(); // by label

  async function read(queue, one) {
    const show = (changes) => {
      one.view = { ...one.view, ...changes };
      for (const listener of one.listeners) listener(one.view);
    };
    try {
      const { signal } = one.leaving;
      for await (const { event, data } of watchQueue(jobs, queue, { events: ['queue-stats'], signal })) {
        if (event === 'ack') show({ missing: !!data.unknownQueue, reason: '' });
        else if (event === 'queue-stats') show({ stats: data, at: Date.now(), missing: false });
      }
    } catch (error) {
      if (followed.get(queue) === one) show({ reason: sentence(error) });
    }
  }

  return (queue, listener) => {
    let one = followed.get(queue);
    if (!one) {
      one = {
        view: { stats: null, at: 0, reason: '', missing: false },
        listeners: new Set(),
        leaving: new AbortController(),
      };
      followed.set(queue, one);
      read(queue, one);
    }
    one.listeners.add(listener);
    listener(one.view);
    return () => {
      if (!one.listeners.delete(listener) || one.listeners.size) return;
      followed.delete(queue);
      one.leaving.abort();
    };
  };
}
