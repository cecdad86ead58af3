/** Resumes the log, `io(url + '/logs')`, after a lost connection. Brackets name rules of protocol.md. */

import { PASSING } from './subscriptions.js';

// After a temporary error, the log is requested again after this time, in milliseconds.
const RETRY = 1000;

/**
 * Takes a frame of the log. Changes the subscription's request `asked` so that, sent again, it begins after the last line, or
 * after the position of an `ack` or a `pong` [L5]. `own` says that the frame answers a request of the user. `nudge` is called
 * when the request must be sent again.
 */
export function resume(asked, { event, data, ref, id }, own, jobs, nudge) {
  const { message } = asked;
  if (ref === message.ref && !own) {
    // This answers a request that was sent again. The user does not see it.
    if (data.gap) jobs.fire('dropped', { count: 0, approximate: true });
    if (PASSING.includes(data.code))
      setTimeout(() => {
        asked.sent = false;
        nudge();
      }, RETRY);
  }
  const after = event === 'log' ? id : event !== 'error' && data?.after;
  if (after) asked.message = { ...message, data: { ...message.data, tail: undefined, after } };
}
