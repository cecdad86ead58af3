/** Requests that are about no job: what waits for an answer, and what each connection needs again. */

import { resume } from './logs.js';

/** `nudge` is called when there is something to ask for; `next` gives a ref that no other request has. */
export function Requests(jobs, next, nudge) {
  const unanswered = new Map(); // by ref
  const standing = new Map(); // subscriptions to queues and to the log

  const all = () => [...new Set([...standing.values(), ...unanswered.values()])];

  return {
    /** Ask the bridge; resolves with its ack's data, or with `{error: {code, message}}`. */
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

    /** What to send now. */
    unsent: () =>
      all().flatMap((request) => {
        if (request.sent) return [];
        request.sent = true;
        return request.message;
      }),

    /** Everything is to be sent once more. */
    again: () => all().forEach((request) => (request.sent = false)),

    pending: () => [...unanswered.values()].some(({ sent }) => sent),

    /** A frame has come. `logs`: from the log, which goes on where it was. */
    take(frame, logs) {
      const { event, data, ref } = frame;
      const request = unanswered.get(ref);
      unanswered.delete(ref);
      request?.resolve(event === 'error' ? { error: data } : data);
      const asked = logs && standing.get('subscribe-logs');
      if (asked && !unanswered.has(asked.message.ref)) resume(asked, frame, request, jobs, nudge);
    },

    /** There will be no answers. */
    refuse(answer) {
      for (const { resolve } of unanswered.values()) resolve(answer);
      unanswered.clear();
    },
  };
}
