/** A connection to a bridge that is made again whenever it is lost. Times are in milliseconds. */

import { JobwsError } from './errors.js';
import { loadHttp } from './loading.js';
import { Subscriptions } from './subscriptions.js';
import { WebSocketLink } from './websocket.js';

// Watches for which the bridge has no place get one after so long.
const TURN = 5000;

/** Whether a client whose connection ended with `code` should come back [X1]. */
const mayReturn = (code) => (code < 4000 ? [1001, 1005, 1006, 1011, 1012, 1013].includes(code) : code < 4500);

/**
 * `settings` are those of `settings.js`. `jobs` is told of it by its own state and events. `to` is called: `frame` with what
 * comes, `calls` for requests that are about no job (true: with those that were sent), `pending` (is one unanswered?),
 * `stopped` with why there will be nothing more.
 */
export function Connection(settings, jobs, to) {
  const { base, fallback, WebSocket, auth, token: source = auth } = settings;
  const subscriptions = Subscriptions(nudge);
  const connection = { base, subscriptions, connect, nudge, token, stop, active: false, failure: null };
  let link = null;
  let timer; // of the next attempt, or of turns
  let tries = 0; // links without `hello` since the last one with
  let losses = 0; // since the last answer
  let http = false; // it is tried next, immediately
  let begun = false; // there was a connection
  let unlisten; // to the page

  function connect() {
    if (connection.active) return;
    connection.active = true;
    connection.failure = null;
    tries = 0;
    listen();
    open();
  }

  /** There is something to ask for. */
  function nudge() {
    if (link?.greeted) link.nudge();
  }

  async function token() {
    try {
      const given = typeof source !== 'function' ? source : await (source.length ? new Promise(source) : source());
      return typeof given === 'string' ? given : given?.token;
    } catch (error) {
      throw new JobwsError(`the function that gets the token failed: ${error}`);
    }
  }

  /** WebSocket; where it does not get through, HTTP. */
  async function open() {
    timer = null;
    try {
      const given = await token();
      let Link = WebSocketLink;
      if (fallback && (http || !WebSocket || tries % 3 === 2))
        ({ HttpLink: Link } = await loadHttp().catch(() => ({ HttpLink: WebSocket && WebSocketLink })));
      if (!connection.active || link) return;
      if (Link) link = dial(Link, given);
      else ended(null, 1006, 'no jobws-http.js');
    } catch (error) {
      stop(error);
    }
  }

  function dial(Link, given) {
    let fresh = true;
    const made = Link({ ...settings, token: given }, {
      frame: (text) => take(made, text),
      end: (code, reason) => ended(made, code, reason),
      upgrade: async () => dial(WebSocketLink, await token().catch(() => {})),
      size: subscriptions.size,
      awaited: () => subscriptions.awaited() || to.pending(),
      messages(all) {
        if (all) subscriptions.connected();
        const calls = to.calls(all || fresh);
        fresh = false;
        return [...subscriptions.requests(), ...calls];
      },
    });
    made.late = setTimeout(() => ended(made, 1006, 'timeout'), settings.timeout);
    return made;
  }

  function take(from, text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {} // below
    const event = frame?.event;
    if (from.greeted ? !event : event !== 'hello') ended(from, 1006, 'what answers does not speak jobws.v1');
    else if (!from.greeted) greet(from, frame.data);
    else if (from === link && event !== 'hello') {
      if (event === 'ack') losses = 0; // the bridge works: back-off begins again
      subscriptions.receive(frame);
      to.frame(frame);
    }
  }

  function greet(from, hello) {
    clearTimeout(from.late);
    const upgrade = from !== link;
    if (upgrade) {
      if (!link?.greeted || link.kind === 'websocket') return from.close(); // it comes too late
      link.close();
    }
    const attempt = tries + 1;
    tries = 0;
    from.greeted = true;
    link = from;
    clearTimeout(timer); // an interval, too
    timer = setInterval(subscriptions.turn, TURN);
    subscriptions.connected(hello);
    link.begin();
    jobs.connected = true;
    jobs.transport = link.kind;
    if (!upgrade && begun) jobs.io.fire('reconnect', attempt);
    begun = true;
    if (!upgrade) jobs.fire('connect');
    jobs.fire('transport', link.kind);
    nudge();
  }

  function ended(which, code, reason) {
    if (which !== link) return close(which);
    const { reconnection, reconnectionAttempts = Infinity, reconnectionDelay, reconnectionDelayMax } = settings;
    const was = lose(reason === 'ping timeout' ? reason : code === 1006 ? 'transport close' : `${code} ${reason}`);
    if (!mayReturn(code)) return stop(new JobwsError(`the bridge refuses this client: ${code} ${reason}`, code));
    const origin = globalThis.location?.origin;
    const allowed = origin ? `, and does it allow this page's origin (jobws serve --allow-origin ${origin})` : '';
    const error = new JobwsError(`no jobws bridge at ${base}: is it running there, is that its URL${allowed}? (${reason || 'refused'})`);
    http = !was && fallback && (reason === 'buffered' || (reason === 'timeout' && which.kind === 'websocket'));
    if (!was && ++tries >= 3) jobs.fire('connect_error', error);
    if (reconnection === false || tries > reconnectionAttempts) {
      stop(error);
      return jobs.io.fire('reconnect_failed');
    }
    // Those that lost the same bridge do not come back together: a wait is random up to what doubles.
    const most = Math.min(reconnectionDelay * 2 ** losses++, reconnectionDelayMax);
    timer = setTimeout(retry, http ? 0 : Math.random() * most);
  }

  function retry() {
    jobs.io.fire('reconnect_attempt', tries + 1);
    open();
  }

  function close(which) {
    clearTimeout(which?.late);
    which?.close();
  }

  /** The connection is over; returns whether there had been one. */
  function lose(reason) {
    const lost = link;
    clearTimeout(timer);
    timer = link = null;
    close(lost);
    subscriptions.disconnected();
    jobs.connected = false;
    jobs.transport = null;
    if (lost?.greeted) jobs.fire('disconnect', reason);
    return lost?.greeted;
  }

  /** End for good, or until `connect` is called. */
  function stop(error, reason = error.message) {
    if (!connection.active) return;
    connection.active = false;
    connection.failure = error;
    lose(reason);
    unlisten();
    subscriptions.fail(error);
    to.stopped(error);
    if (reason !== 'io client disconnect') jobs.fire('connect_error', error);
  }

  /** A network that comes back, and a page that is looked at again, are reasons to see whether the bridge is there. */
  function listen() {
    const check = () => {
      if (link?.greeted) return link.check();
      if (!timer) return; // it is tried
      clearTimeout(timer);
      retry();
    };
    const { document } = globalThis;
    const shown = () => document.visibilityState === 'visible' && check();
    const listen = (how) => {
      globalThis[how]?.('online', check);
      document?.[how]('visibilitychange', shown);
    };
    listen('addEventListener');
    unlisten = () => listen('removeEventListener');
  }

  return connection;
}
