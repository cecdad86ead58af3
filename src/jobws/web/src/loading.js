/** What goes over HTTP is loaded when it is needed; the bundle for service workers, which can load nothing later, has it. */

let failures = 0;

/** The module `jobws-http.js`. Browsers do not try again what could not be loaded, so it has another URL then. */
export async function loadHttp() {
  try {
    return await (failures ? import(/* webpackIgnore: true */ /* @vite-ignore */ ['./jobws-http.js', failures].join('?')) : import('./jobws-http.js'));
  } catch (error) {
    failures++;
    throw error;
  }
}
