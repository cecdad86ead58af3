/**
 * jobws: what becomes of BullMQ jobs, live, from a jobws bridge. One ES module without dependencies, for pages, workers,
 * extensions and Node. Change one import: it has the surface of socket.io-client that job pages use (`io`, `on`, `emit`
 * with acks). And it misses no outcome: `await jobs.wait(id)`, `for await (const event of jobs.watch(id))`.
 */

import { Jobs as Client } from './socketio.js';

export { JobFailed, JobRemoved, JobUnknown, JobwsError } from './errors.js';

/**
 * Loaded when it is needed; the bundle for service workers, which can load nothing later, has it in itself. Browsers do
 * not try again what could not be loaded, so that it has another URL then.
 */
let failures = 0;
const loadHttp = () =>
  (failures ? import(/* webpackIgnore: true */ /* @vite-ignore */ ['./jobws-http.js', failures].join('?')) : import('./jobws-http.js')).then(
    ({ HttpLink }) => HttpLink,
    (error) => {
      failures++;
      throw error;
    },
  );

/** A connection to a bridge that comes back by itself. */
export class Jobs extends Client {
  constructor(url, options) {
    super(url, options, loadHttp);
  }
}

/** A bridge's client, like socket.io-client's `io`. `url` is the bridge's, or that with `/logs` for its logs. */
export function io(url, options) {
  return typeof url === 'object' && !(url instanceof URL) && url !== null ? new Jobs(undefined, url) : new Jobs(url, options);
}
export { io as connect, io as default };
