/** A connection to a bridge, which reconnects whenever it is lost. Times are in milliseconds. Brackets name rules of protocol.md. */

import { JobwsError, unreachable } from './errors.js';
import { loadHttp } from './loading.js';
import { Requests } from './requests.js';
import { Sharing } from './sharing.js';
import { Subscriptions } from './subscriptions.js';
import { WebSocketLink } from './websocket.js';

// If there are more subscriptions than the bridge allows, they take turns of this length.
const TURN = 5000;

/** Whether a client whose connection ended with `code` should come back [X1]. */
const mayReturn = (code) => (code < 4000 ? [1001, 1005, 1006, 1011, 1012, 1013].includes(code) : code < 4500);

/** Makes a connection with these `settings` (settings.js). Fires its events on `jobs`, and calls `tell` with each frame. */
export function Connection(settings, jobs, tell) {
  const { base, fallback, WebSocket, token: source } = settings;
  const subscriptions = Subscriptions(nudge);
  const requests = Requests(jobs, subscriptions.next, nudge);
  const exchanges = [subscriptions, requests];
  const share = Sharing(subscriptions);
  const connection = { base, subscriptions, share, requests, connect, token, stop, active: false, transport: null };
  let link = null; // the link that is open or opening
  let timer; // for the next attempt to connect, or for turns while connected
  let attempts = 0; // attempts to reconnect since the bridge last answered
  let polls = false; // whether to poll, since the network seems to delay streams

  function connect() {
    if (connection.active) return;
    connection.active = true;
    connection.failure = null;
    attempts = 0;
    listen('addEventListener');
    open();
  }

  /** Check the connection when the network comes back, and when the page becomes visible. */
  function listen(how) {
    globalThis[how]?.('online', check);
    globalThis.document?.[how]('visibilitychange', check);
  }

  function check({ type }) {
    if (type === 'visibilitychange' && document.hidden) return;
    if (connection.transport) link.check();
    else if (timer) open(); // without a timer, an attempt is under way
  }

  /** Send new requests soon, if connected. */
  function nudge() {
    if (connection.transport) link.nudge();
  }

  async function token() {
    try {
      const given = source?.call ? await (source.length ? new Promise(source) : source()) : source;
      return typeof given === 'string' ? given : given?.token;
    } catch (error) {
      throw new JobwsError(`the token function failed: ${error}`);
    }
  }

  /** Open a WebSocket. Open HTTP in every third attempt, where there is no WebSocket, and with `next`. */
  async function open(next) {
    if (timer) jobs.io.fire('reconnect_attempt', ++attempts);
    clearTimeout(timer);
    timer = null;
    try {
      const given = await token();
      const http = fallback && (next || !WebSocket || attempts % 3 === 2) && (await loadHttp(settings.timeout).catch(() => {}));
      if (!connection.active || link) return;
      if (http || WebSocket) link = dial(http ? http.HttpLink : WebSocketLink, given, polls);
      else ended(null, 1006, 'jobws-http.js does not load');
    } catch (error) {
      stop(error);
    }
  }

  function dial(Link, given, polls) {
    const made = Link({ ...settings, token: given, polls }, {
      frame: (text) => take(made, text),
      end: (code, reason) => ended(made, code, reason),
      upgrade: async (Link = WebSocketLink) => dial(Link, await token().catch(() => {})),
      again: () => exchanges.forEach((each) => each.again()),
      messages: () => exchanges.flatMap((each) => each.unsent()),
    });
    return made;
  }

  function take(from, text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {} // without a frame, the link is ended below
    const event = frame?.event;
    const greeted = from === link && connection.transport;
    if (event === 'hello') greeted || greet(from, frame.data.limits); // each response over HTTP begins with a `hello`
    else if (!greeted || !event) ended(from, 1006, 'what answers does not speak jobws.v1');
    else {
      if (event === 'ack' || event === 'pong') attempts = 0;
      subscriptions.receive(frame);
      tell(frame);
    }
  }

  function greet(from, limits) {
    const upgrade = from !== link;
    if (upgrade && (connection.transport ?? 'websocket') === 'websocket') return from.close(); // the upgrade comes too late
    if (upgrade) link.close();
    link = from;
    connection.transport = from.kind;
    polls = from.kind === 'polling';
    timer ??= setInterval(subscriptions.turn, TURN);
    for (const each of exchanges) each.again(limits);
    if (attempts && !upgrade) jobs.io.fire('reconnect', attempts);
    if (!upgrade) jobs.fire('connect');
    jobs.fire('transport', from.kind);
    nudge();
  }

  function ended(which, code, reason) {
    if (which !== link) return which.close();
    // After a timeout, the next way is tried immediately: an HTTP stream after WebSocket, polling after a stream.
    const http = !connection.transport && fallback && reason === 'timeout' && which.kind !== 'polling';
    lose(reason === 'timeout' ? 'ping timeout' : code === 1006 ? 'transport close' : `${code} ${reason}`);
    if (!mayReturn(code) || (code === 4001 && source && !source.call)) return stop(new JobwsError(`the bridge refuses this client: ${code} ${reason}`, code));
    const error = unreachable(base, reason);
    if (attempts >= 2) jobs.fire('connect_error', error);
    if (settings.reconnection === false || attempts >= settings.reconnectionAttempts) {
      stop(error);
      return jobs.io.fire('reconnect_failed');
    }
    polls ||= http && which.kind === 'sse';
    // The pause is random up to a limit that doubles, so that clients do not all reconnect together.
    const longest = Math.min(settings.reconnectionDelay * 2 ** attempts, settings.reconnectionDelayMax);
    timer = setTimeout(open, http ? 0 : Math.random() * longest, http);
  }

  /** Close the link. If there was a connection, `reason` says why it is lost. */
  function lose(reason) {
    const was = connection.transport;
    link?.close();
    clearTimeout(timer); // also clears an interval
    timer = link = connection.transport = null;
    subscriptions.again();
    if (was) jobs.fire('disconnect', reason);
  }

  /** End the connection until `connect` is called. */
  function stop(error, reason = error.message) {
    if (!connection.active) return;
    connection.active = false;
    connection.failure = error;
    lose(reason);
    listen('removeEventListener');
    for (const each of exchanges) each.fail(error);
    if (reason !== 'io client disconnect') jobs.fire('connect_error', error);
  }

  return connection;
}
