/** The log, `io(url + '/logs')`, goes on where it was. Rules in brackets: protocol.md. */

import { PASSING } from './subscriptions.js';

// The log that does not come back for now is asked for once more after so long, in milliseconds.
const RETRY = 1000;

/**
 * `asked` is the standing request, which from now on is to bring what comes after the last line, or after the position
 * of an `ack` or a `pong` [L5]. `own`: the frame answers the user's own request. `nudge`: it is to be sent again.
 */
export function resume(asked, { event, data, ref, id }, own, jobs, nudge) {
  const { message } = asked;
  if (ref === message.ref && !own) {
    // Nobody sees the answers to what was asked again.
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
