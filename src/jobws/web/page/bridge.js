/** The page's connection to its bridge: events, requests, and who the viewer is. The token stays in this tab. */

import { io } from './jobws.js';
import { watchQueue } from './jobws-queues.js';
import { Rights } from './rights.js';
import { TokenStore } from './tokenstore.js';

export const BASE = new URL('.', location.href.split('#')[0]).href.replace(/\/$/, '');
const NAMES =
  `added waiting active progress completed failed retries-exhausted delayed waiting-children stalled removed duplicated
  deduplicated job-log`.split(/\s+/);
// The token is expired, was not accepted, or was revoked.
const TOKEN_ENDS = [4001, 4500, 4501];

/** An answer of the bridge that is an error. `code` is for programs, `status` the HTTP status. */
export class Refused extends Error {
  constructor(status, { detail, code } = {}) {
    super(detail ?? `HTTP ${status}`);
    Object.assign(this, { status, code });
  }
}

/**
 * Makes the connection. `ask(reason)` is called when a token is needed. `tell(state, detail)` is called after each change:
 * - `begun`: the viewer is known, and the connection is being made; `live`: events come over the transport `detail`;
 * - `reconnecting`, `offline` (there is no bridge) and `stopped` (it will not be tried again), for the reason `detail`;
 * - `gap`: events of the queue `detail` are missing; `expiring`: the token expires at `detail`.
 */
export function Bridge(tell, ask) {
  const tokens = TokenStore(`jobws token ${BASE}`);
  let ahead = 0; // how far the clock of Redis is ahead of the viewer's at least, in milliseconds
  const listeners = new Set();
  const bridge = {
    rights: Rights(),
    who: null,
    jobs: null,
    /** The time by the clock of Redis, as far as it is known. */
    now: () => Date.now() + ahead,
    /** Calls `listener(event, data, id)` for the events of a whole queue. Returns a function that ends this. */
    follow(queue, events, listener) {
      const leaving = new AbortController();
      const { signal } = leaving;
      const run = async () => {
        for await (const { event, data, id } of watchQueue(bridge.jobs, queue, { events, signal }))
          take(listener, event, data, id);
      };
      run().catch(() => {}); // it was left, or the connection has ended, which says so itself
      return () => leaving.abort();
    },
    /**
     * Calls `listener(event, data, id)` for all events of a job that Redis still has, then for those that come, and for the lines
     * of its log. Returns a function that ends this.
     */
    followJob(queue, jobId, listener) {
      const { jobs } = bridge;
      const mine = (event, data, id) =>
        data?.jobId === jobId && data.queue === queue && take(listener, event, data, id);
      listeners.add(mine);
      jobs.emit('subscribe-job', { queue, jobId, events: ['*'], after: '0-0', logs: true });
      return () => {
        listeners.delete(mine);
        jobs.emit('unsubscribe-job', { queue, jobId });
      };
    },
    start,
    /** Uses a new token from now on, on a new connection. Rejects if the bridge does not accept it. */
    async use(given) {
      const who = await get('whoami', {}, { token: given });
      tokens.keep(given);
      begin(who);
    },
    /** Forgets the token, and asks for another one. */
    forget: () => lost(''),
    get token() {
      return tokens.token;
    },
    get,
    post: (path, query, body) => request('POST', path, query, { body }),
    act: (action, about) => request('POST', 'actions', { action, ...about }),
  };

  async function request(method, path, query = {}, { body, token: given = tokens.token } = {}) {
    const wanted = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const url = `${BASE}/${path}${wanted.length ? `?${new URLSearchParams(wanted)}` : ''}`;
    const headers = {
      ...(given && { authorization: `Bearer ${given}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    };
    const response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const error = new Refused(response.status, answer);
    if (response.status === 401 && given === tokens.token) lost(error.message);
    throw error;
  }

  function get(path, query, options) {
    return request('GET', path, query, options);
  }

  async function start() {
    try {
      begin(await get('whoami'));
    } catch (error) {
      if (error.status === 401) return; // `lost` has asked for a token
      tell('offline', error.message);
      setTimeout(start, 2000);
    }
  }

  function begin(who) {
    end();
    Object.assign(bridge, { who, rights: Rights(who) });
    const jobs = (bridge.jobs = io(BASE, { token: tokens.token }));
    let failed = false;
    jobs.on('connect', () => (failed = false));
    jobs.on('transport', (kind) => tell('live', kind));
    jobs.on('disconnect', () => bridge.jobs === jobs && tell('reconnecting'));
    jobs.on('gap', ({ queue }) => tell('gap', queue));
    jobs.on('expiring', ({ expires }) => tell('expiring', expires));
    jobs.on('connect_error', (error) => {
      if (TOKEN_ENDS.includes(error.code)) lost(error.message);
      else if (!jobs.active) tell('stopped', error.message);
      else if (!failed) tell('reconnecting', error.message);
      failed = true;
    });
    for (const name of NAMES) jobs.on(name, (data, id) => listeners.forEach((listener) => listener(name, data, id)));
    tell('begun');
  }

  function take(listener, event, data, id) {
    if (id) ahead = Math.max(ahead, Number.parseInt(id, 10) - Date.now());
    listener(event, data, id);
  }

  function end() {
    const { jobs } = bridge;
    bridge.jobs = null;
    jobs?.disconnect();
  }

  function lost(reason) {
    const had = tokens.token !== undefined;
    tokens.drop();
    end();
    bridge.who = null;
    ask(had ? reason : '');
  }

  return bridge;
}
