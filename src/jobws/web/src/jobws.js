/**
 * jobws: live events and outcomes of BullMQ jobs, from a jobws bridge. One ES module without dependencies, for pages,
 * workers, extensions and Node. It has the methods of socket.io-client that job pages use (`io`, `on`, `emit` with acks), so
 * pages change one import. It misses no outcome: `await jobs.wait(id)`, `for await (const event of jobs.watch(id))`.
 */

import { Jobs } from './socketio.js';

export { JobFailed, JobRemoved, JobUnknown, JobwsError } from './errors.js';

/** Makes a client, like socket.io-client's `io`. `url` is the bridge's URL, followed by `/logs` to read the log. */
export const io = (url, options) => (typeof url === 'object' && url && !url.href ? new Jobs(undefined, url) : new Jobs(url, options));
export { Jobs, io as connect, io as default };
