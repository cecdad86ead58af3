/**
 * jobws: what becomes of BullMQ jobs, live, from a jobws bridge. One ES module without dependencies, for pages, workers,
 * extensions and Node. Change one import: it has the surface of socket.io-client that job pages use (`io`, `on`, `emit`
 * with acks). And it misses no outcome: `await jobs.wait(id)`, `for await (const event of jobs.watch(id))`.
 */

import { Jobs } from './socketio.js';

export { JobFailed, JobRemoved, JobUnknown, JobwsError } from './errors.js';

/** A bridge's client, like socket.io-client's `io`. `url` is the bridge's, or that with `/logs` for its logs. */
export const io = (url, options) => (typeof url === 'object' && url && !url.href ? new Jobs(undefined, url) : new Jobs(url, options));
export { Jobs, io as connect, io as default };
