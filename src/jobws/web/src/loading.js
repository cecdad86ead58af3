/** What goes over HTTP is loaded when it is needed; the bundle for service workers, which can load nothing later, has it. */

import { JobwsError } from './errors.js';
import { within } from './within.js';

let failures = 0;

/** The module `jobws-http.js`, within so long. Browsers do not try again what could not be loaded: it has another URL then. */
export async function loadHttp(milliseconds = 10000) {
  const loading = failures ? import(/* webpackIgnore: true */ /* @vite-ignore */ ['./jobws-http.js', failures].join('?')) : import('./jobws-http.js');
  try {
    return await within(loading, milliseconds, new JobwsError('jobws-http.js does not load'));
  } catch (error) {
    failures++;
    throw error;
  }
}
