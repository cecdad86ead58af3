/** Checks the options of `io`, and makes the settings. Times are in milliseconds. */

import { JobwsError } from './errors.js';

// `timeout`: how long a connection may take to begin. A stream over HTTP has half of it, since the network may delay streams.
// `pongTimeout`: a connection is dead if nothing comes within this time after a `ping`. `upgradeDelay`: over HTTP, WebSocket
// is tried again after this time, then after twice as long, and so on.
const DEFAULTS = {
  timeout: 10000,
  pingInterval: 20000,
  pongTimeout: 10000,
  reconnectionDelay: 100,
  reconnectionDelayMax: 5000,
  upgradeDelay: 1000,
  upgradeDelayMax: 300000,
};
const KNOWN = new Set([
  ...Object.keys(DEFAULTS),
  ...'path auth token transports reconnection reconnectionAttempts randomizationFactor autoConnect WebSocket'.split(' '),
]);
const warned = new Set();
function warn(text) {
  if (!warned.has(text)) console.warn(`jobws: ${text}`);
  warned.add(text);
}

/** Returns the settings for `url` and `options`. `fallback` says whether HTTP is tried, too. */
export function settingsOf(url, options) {
  const unknown = Object.keys(options).filter((name) => !KNOWN.has(name));
  if (unknown.length) warn(`unknown options: ${unknown.join(', ')}`);
  const at = new URL(url ?? '/', globalThis.location?.href);
  let path = at.pathname.replace(/\/+$/, '');
  const logs = path.endsWith('/logs');
  if (logs) path = path.slice(0, -5);
  if (options.path?.startsWith('/socket.io')) warn(`path ${options.path} is socket.io's; the bridge's path goes into the URL`);
  else if (options.path) path = options.path.replace(/\/(ws)?\/*$/, '');
  const { transports, token = options.auth, WebSocket = globalThis.WebSocket } = options;
  const fallback = !logs && (!transports || transports.some((name) => name !== 'websocket'));
  if (!WebSocket && !fallback) throw new JobwsError('no WebSocket here: pass one, io(url, {WebSocket})');
  return {
    ...DEFAULTS,
    ...options,
    token,
    WebSocket,
    base: `${at.protocol.replace('ws', 'http')}//${at.host}${path}`,
    endpoint: logs ? '/logs' : '/ws',
    fallback,
  };
}
