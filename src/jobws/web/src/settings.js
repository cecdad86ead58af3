/** What `io` is given, and what is made of it. Times are in milliseconds. */

import { JobwsError } from './errors.js';

// `timeout`: a connection that has not begun after so long is given up, a stream that has not, after half of that: the
// network may hold it back. `pongTimeout`: one of which nothing comes so long after a `ping` is dead. `upgradeDelay`: where
// only HTTP gets through, WebSocket is tried again after so long, then after twice as long, and so on.
const DEFAULTS = {
  timeout: 10000,
  pingInterval: 20000,
  pongTimeout: 10000,
  reconnectionDelay: 100,
  reconnectionDelayMax: 5000,
  upgradeDelay: 30000,
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

/** `fallback`: HTTP is to be tried, too. */
export function settingsOf(url, options) {
  const unknown = Object.keys(options).filter((name) => !KNOWN.has(name));
  if (unknown.length) warn(`these options mean nothing to it: ${unknown.join(', ')}`);
  const at = new URL(url ?? '/', globalThis.location?.href);
  let path = at.pathname.replace(/\/+$/, '');
  const logs = path.endsWith('/logs');
  if (logs) path = path.slice(0, -5);
  if (options.path?.startsWith('/socket.io')) warn(`path ${options.path} is socket.io's; the path of the bridge goes into the URL`);
  else if (options.path) path = options.path.replace(/\/(ws)?\/*$/, '');
  const { transports, token = options.auth, WebSocket = globalThis.WebSocket } = options;
  const fallback = !logs && (!transports || transports.some((name) => name !== 'websocket'));
  if (!WebSocket && !fallback) throw new JobwsError('there is no WebSocket here: pass one, io(url, {WebSocket})');
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
