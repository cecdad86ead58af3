/** The connections of the elements on a page. Elements with the same bridge and token share one, as long as one of them uses it. */

import { io } from '../jobws.js';
import { Followed } from './followed.js';
import { FollowedQueues } from './followed-queues.js';

// An element that is moved in the page leaves and comes back. So a connection that nobody uses stays for so many milliseconds.
const LINGER = 1000;

const clients = new Map(); // by URL, then by token

/**
 * Returns the client of a bridge, which counts its users; a new one after a client that will not come back. `token` is a text, a
 * function, or undefined. It has:
 * - `jobs`: the adapter's client;
 * - `status`: `connecting`, `live`, `http` (no WebSocket gets through), `reconnecting`, or `refused` (it will not come back);
 * - `reason`: why the last connection failed, or '';
 * - `watch(listener)`: calls `listener()` after each change of `status` or `reason`;
 * - `follow(queue, jobId, listener, logs)`: see followed.js; `followQueue(queue, listener)`: see followed-queues.js.
 *
 * Each of these three methods returns a function that ends what it began. Call `part(client)` when you need it no more.
 */
export function join(url, token) {
  if (!clients.has(url)) clients.set(url, new Map());
  const ofUrl = clients.get(url);
  if (!ofUrl.get(token)?.jobs.active) ofUrl.set(token, follows(Client(url, token)));
  const client = ofUrl.get(token);
  client.users++;
  return client;
}

/**
 * Returns a client of the bridge's log, for one element: a connection to the log has only one subscription. It follows neither jobs nor
 * queues.
 */
export function joinLogs(url, token) {
  const client = Client(`${url.replace(/\/+$/, '')}/logs`, token);
  client.users++;
  return client;
}

/** Gives back a client that `join` or `joinLogs` returned. When nobody uses it any more, its connection ends. */
export function part(client) {
  if (--client.users) return;
  setTimeout(() => {
    if (client.users) return;
    for (const ofUrl of clients.values()) for (const [token, each] of ofUrl) if (each === client) ofUrl.delete(token);
    client.jobs.disconnect();
  }, LINGER);
}

const follows = (client) =>
  Object.assign(client, { follow: Followed(client.jobs), followQueue: FollowedQueues(client.jobs) });

function Client(url, token) {
  const jobs = io(url, { token });
  const listeners = new Set();
  const client = {
    jobs,
    users: 0,
    status: 'connecting',
    reason: '',
    watch,
  };

  function become(status, reason = '') {
    Object.assign(client, { status, reason });
    for (const listener of listeners) listener();
  }

  function watch(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  jobs.on('transport', (kind) => become(kind === 'websocket' ? 'live' : 'http'));
  jobs.on('disconnect', () => become('reconnecting'));
  jobs.on('connect_error', ({ message }) => become(jobs.active ? 'reconnecting' : 'refused', message));
  return client;
}
