/** The log, `io(url + '/logs')`, goes on where it was. Rules in brackets: protocol.md. */

import { PASSING } from './subscriptions.js';

// The log that does not come back for now is asked for once more after so long, in milliseconds.
const RETRY = 1000;

/**
 * What `subscribe-logs` is to be asked for from now on: what came after the last line, or the position of an `ack` or a
 * `pong` [L5]; null: nothing else. `call`: the user's own request that the frame answers. `retry` asks once more.
 */
export function resumed(asked, { event, data, ref, id }, call, { fire, retry }) {
  if (ref === asked.ref && !call) {
    // Nobody sees the answers to what was asked again.
    if (data.gap) fire('dropped', { count: 0, approximate: true });
    if (PASSING.includes(data.code)) setTimeout(() => retry(asked), RETRY);
  }
  const after = event === 'log' ? id : event === 'error' ? null : data?.after;
  if (!after) return null;
  const { tail, ...filters } = asked.data ?? {};
  return { ...asked, data: { ...filters, after } };
}
