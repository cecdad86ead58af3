/** The page's connection to its bridge: events, requests, and who the viewer is. The token stays in this tab. */

import { Again } from './again.js';
import { Clock } from './clock.js';
import { io } from './jobws.js';
import { watchQueue } from './jobws-queues.js';
import { Rights } from './rights.js';
import { TokenStore } from './tokenstore.js';

export const BASE = new URL('.', location.href.split('#')[0]).href.replace(/\/$/, '');
const NAMES =
  `added waiting active progress completed failed retries-exhausted delayed waiting-children stalled removed duplicated
  deduplicated job-log gap ended`.split(/\s+/);
// The token is expired, was not accepted, or was revoked.
const TOKEN_ENDS = [4001, 4500, 4501];

const NOWHERE = 'This bridge has no queue of this name';

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
 * - `ended`: a subscription is over, for the reason `detail`, and is tried again; without `detail`, all of them go on;
 * - `gap`: events of the queue `detail` are missing; `expiring`: the token expires at `detail`.
 */
export function Bridge(tell, ask) {
  const tokens = TokenStore(`jobws token ${BASE}`);
  const clock = Clock();
  const listeners = new Set();
  const connected = new Set();
  const broken = new Map(); // subscriptions that are over, to why
  const bridge = {
    rights: Rights(),
    who: null,
    jobs: null,
    now: clock.now,
    /** Calls `listener()` after each connection. Returns a function that ends this. */
    onConnect(listener) {
      connected.add(listener);
      return () => connected.delete(listener);
    },
    /**
     * Calls `listener(event, data, id)` for the events of a whole queue, and with `ack` where they begin: between that and the one
     * before, events may be missing; with `ended` and `{message, yet}`, if the bridge does not know the queue. `yet`: it will as soon as
     * the queue has a job. Returns a function that ends this.
     */
    follow(queue, events, listener) {
      const leaving = new AbortController();
      const { signal } = leaving;
      const kept = keep(async () => {
        for await (const { event, data, id, replayed } of watchQueue(bridge.jobs, queue, { events, signal })) {
          if (event === 'ack') kept.works();
          take(listener, event, data, id, !replayed);
          if (event === 'ack' && data.unknownQueue)
            listener('ended', { yet: true, message: `${NOWHERE} yet. It appears here as soon as it has a job.` });
        }
      }, listener);
      kept.begin();
      return () => {
        kept.end();
        leaving.abort();
      };
    },
    /**
     * Calls `listener(event, data, id)` for all events of a job that Redis still has, then for those that come, for the lines
     * of its log, for gaps, and with `ended` as `follow` does. Returns a function that ends this.
     */
    followJob(queue, jobId, listener) {
      const { jobs } = bridge;
      let [after, logs] = ['0-0', true];
      const kept = keep(async () => {
        const { error } = await jobs.emitWithAck('subscribe-job', { queue, jobId, events: ['*'], after, logs });
        if (error) throw error;
        kept.works();
      }, listener);
      const mine = (event, data, id) => {
        const gap = event === 'gap';
        if ((gap ? (data.queue ?? queue) : data?.queue) !== queue) return;
        if (gap ? data.jobs?.includes(jobId) === false : data.jobId !== jobId) return;
        if (event === 'ended') return kept.failed(data);
        after = id ?? after;
        if (event === 'job-log') logs = { after: data.position };
        take(listener, event, data, id);
      };
      listeners.add(mine);
      connected.add(kept.begin); // if the bridge refuses it on a new connection, only a request is told
      kept.begin();
      return () => {
        kept.end();
        listeners.delete(mine);
        connected.delete(kept.begin);
        jobs.emit('unsubscribe-job', { queue, jobId });
      };
    },
    /**
     * Calls `listener(event, data, parent)` for all events of a job and of the jobs below it that Redis still has, then for those that
     * come, for gaps, and with `ended` if there are too many jobs below. `parent` is the job above. The listener gets no positions,
     * and so no times. Returns a function that ends this.
     */
    followFlow(queue, jobId, listener) {
      // `jobs.watch` ends with the job, but jobs below may go on, and the job may be retried.
      const { subscriptions } = bridge.jobs.connection;
      let watched = { after: { [queue]: '0-0' } };
      const kept = keep(async () => {
        watched = subscriptions.begin(queue, jobId, watcher, watched.after);
      });
      // Inside the adapter: a watcher is described in src/subscriptions.js.
      const watcher = {
        events: ['*'],
        children: true,
        deliver: ({ event, data, parent }) => listener(event, data, parent),
        answer: kept.works,
        refuse: (error) => (error.code === 'too-many' ? listener('ended', error) : kept.failed(error)),
        stopped() {},
      };
      kept.begin();
      return () => {
        kept.end();
        subscriptions.leave(watched);
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

  /**
   * Keeps a subscription on the present client. `begin()` calls `subscribe`, and again after it has rejected, or after `failed(error)`.
   * It is over, and the viewer is told so, until `works()` is called. Only `listener` is told that the bridge does not know the queue.
   */
  function keep(subscribe, listener) {
    const { jobs } = bridge;
    const again = Again(begin);
    let over = false;
    const kept = {
      begin,
      failed(error) {
        if (over || bridge.jobs !== jobs || !jobs.active) return;
        again.later();
        if (error.code === 'unknown-queue') {
          mended();
          return listener?.('ended', { message: `${NOWHERE}.` });
        }
        broken.set(kept, error.message);
        tell('ended', error.message);
      },
      works() {
        again.done();
        mended();
      },
      end() {
        over = true;
        kept.works();
        again.end();
      },
    };
    function mended() {
      if (broken.delete(kept)) tell('ended', [...broken.values()][0]);
    }
    function begin() {
      if (bridge.jobs === jobs) subscribe().catch(kept.failed);
    }
    return kept;
  }

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
      if (error.status === 403) return ask(error.message);
      tell('offline', error.message);
      setTimeout(start, 2000);
    }
  }

  function begin(who) {
    end();
    broken.clear();
    Object.assign(bridge, { who, rights: Rights(who) });
    const jobs = (bridge.jobs = io(BASE, { token: tokens.token }));
    let failed = false;
    jobs.on('connect', () => {
      failed = false;
      connected.forEach((listener) => listener());
    });
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

  function take(listener, event, data, id, live) {
    if (id) clock.note(id, live);
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
