/** All requests except those for jobs: requests that wait for an answer, and subscriptions to send on each connection. */

import { refusal } from './errors.js';
import { resume } from './logs.js';

/** Calls `nudge` when there is a request to send. `next` returns a ref that no other request has. */
export function Requests(jobs, next, nudge) {
  const unanswered = new Map(); // requests, by ref
  const standing = new Map(); // subscriptions to queues and to the log

  const all = () => [...new Set([...standing.values(), ...unanswered.values()])];

  return {
    /** Send a request. Resolves with the data of the ack, or with `{error: {code, message}}`. */
    ask: (event, data) =>
      new Promise((resolve) => {
        const ref = next();
        const request = { message: { event, data, ref }, resolve };
        const [, un, name] = /^(un)?(subscribe-.+)$/.exec(event) ?? [];
        const key = name === 'subscribe-queue' ? (data?.queue ?? data) : name;
        if (un) standing.delete(key);
        else if (name) standing.set(key, request);
        unanswered.set(ref, request);
        nudge();
      }),

    /** Return the messages to send now. */
    unsent: () =>
      all().flatMap((request) => {
        if (request.sent) return [];
        request.sent = true;
        return request.message;
      }),

    /** Let `unsent` return all requests once more. */
    again: () => all().forEach((request) => (request.sent = false)),

    /** Take a frame. With `logs`, it comes from the log, whose subscription must be able to resume. */
    take(frame, logs) {
      const { event, data, ref } = frame;
      const request = unanswered.get(ref);
      unanswered.delete(ref);
      request?.resolve(event === 'error' ? { error: data } : data);
      const asked = logs && standing.get('subscribe-logs');
      if (asked && !unanswered.has(asked.message.ref)) resume(asked, frame, request, jobs, nudge);
    },

    /** Answer all waiting requests with an error. */
    fail(error) {
      for (const { resolve } of unanswered.values()) resolve(refusal(error));
      unanswered.clear();
    },
  };
}
