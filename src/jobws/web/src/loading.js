/** Loads `jobws-http.js` when it is needed. The bundle for service workers contains it, since they can load nothing later. */

import { JobwsError } from './errors.js';
import { within } from './within.js';

let failures = 0;

/** Load `jobws-http.js` within a time. Browsers do not load a failed URL again, so each attempt has another URL. */
export async function loadHttp(milliseconds = 10000) {
  const loading = failures ? import(/* webpackIgnore: true */ /* @vite-ignore */ ['./jobws-http.js', failures].join('?')) : import('./jobws-http.js');
  try {
    return await within(loading, milliseconds, new JobwsError('jobws-http.js does not load'));
  } catch (error) {
    failures++;
    throw error;
  }
}
