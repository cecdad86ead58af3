/** Keeps one connection to the bridge, and watches the stored jobs over it. Brackets name rules of protocol.md. */

import { percentOf, wordsOf } from './progress.js';
import { everything, forgetToken, isOutcome, keepConnection, keepShown, keepTold, keyOf } from './store.js';

// Each of them, but `progress`, is also the state that it brings.
const EVENTS = ['waiting', 'active', 'delayed', 'waiting-children', 'completed', 'failed', 'removed', 'progress'];
// The close codes after which another token is needed, and the code of a request without one.
const TOKEN_REFUSED = [4001, 4500, 4501, 'unauthenticated'];
// Of a name, a result or a reason, and of a progress, in characters. A progress may have 2 MiB, and the browser keeps 10 MB.
const LONGEST_TEXT = 300;
const LONGEST_PROGRESS = 100;

/** Returns what is kept of a progress: a percentage, or the beginning of what it says in words; undefined if it says nothing. */
const shortened = (progress) => percentOf(progress) ?? (wordsOf(progress) || undefined)?.slice(0, LONGEST_PROGRESS);

/** Returns since when a job is in its state, by a snapshot; undefined if that does not tell. */
function begunOf({ state, processedOn, timestamp, attemptsMade }) {
  if (state === 'active') return processedOn;
  // One that was tried before has been waiting for less long than since it was added.
  return ['waiting', 'prioritized'].includes(state) && !attemptsMade ? timestamp : undefined;
}

/** Returns the beginning of a result or of the reason of a failure. */
function saidBy({ returnvalue, failedReason, truncated }) {
  const value = failedReason ?? returnvalue ?? (truncated ? '(too large to show)' : '');
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}

/**
 * Returns `{follow, refresh}`, which are described below. `io` is the adapter's. `ended(key, job)` is awaited for a job that has
 * ended, before this is stored: if the worker is stopped in between, the next one calls it again. `stuck(message)` is called when
 * only the user can help.
 */
export function Watching(io, ended, stuck) {
  let jobs = null; // the adapter, if there is a connection, or one is tried
  let bridge = null; // that of `jobs`
  const watched = new Map(); // the subscriptions of `jobs`, by key

  function open(to) {
    bridge = to;
    jobs = io(bridge.url, { token: bridge.token, autoConnect: false });
    const current = jobs;
    const say = (state, message) => current === jobs && keepConnection(state, message, bridge.at);
    for (const event of EVENTS)
      jobs.on(event, (data, id) => {
        for (const queue of [data.queue, null]) {
          const key = keyOf({ queue, jobId: data.jobId });
          if (watched.has(key)) heard(key, watched.get(key), event, data, id);
        }
      });
    jobs.on('gap', startAgain);
    jobs.on('ended', ({ queue = null, jobId, message }) => {
      const key = keyOf({ queue, jobId });
      if (watched.has(key)) note(key, watched.get(key), message);
    });
    jobs.on('transport', (kind) => say(kind === 'websocket' ? 'live' : 'http'));
    jobs.on('disconnect', () => current.active && say('connecting'));
    jobs.on('connect_error', ({ code, message }) => {
      if (current !== jobs) return;
      if (TOKEN_REFUSED.includes(code)) refuseToken();
      else if (current.active) say('unreachable', message);
      else stop('refused', message);
    });
    say('connecting');
    jobs.connect();
  }

  function close() {
    const before = jobs;
    jobs = bridge = null;
    watched.clear();
    before?.disconnect();
  }

  /** Stay away from this bridge until the user saves it again. */
  function stop(state, message) {
    const { at } = bridge;
    close();
    keepConnection(state, message, at);
    stuck(message);
  }

  function refuseToken() {
    const { token } = bridge;
    stop('token', token ? 'The bridge does not accept the token. It may have expired.' : 'The bridge needs a token.');
    forgetToken(token);
  }

  function subscribe(key, job) {
    watched.set(key, job);
    const { jobId, queue, told } = job;
    const item = { jobId, queue: queue ?? undefined, events: EVENTS, until: 'end', after: told.after };
    const current = jobs;
    jobs.emit('subscribe-job', item, (answer) => current === jobs && watched.get(key) === job && answered(key, job, answer));
  }

  function leave(key) {
    const { jobId, queue } = watched.get(key);
    watched.delete(key);
    jobs.emit('unsubscribe-job', { jobId, queue: queue ?? undefined });
  }

  function answered(key, job, { jobs: found = [], after, unknown, ambiguous, error }) {
    if (TOKEN_REFUSED.includes(error?.code)) return refuseToken();
    if (error) return note(key, job, error.message);
    const was = job.told.state;
    job.told = { ...job.told, after };
    const { name = job.shown.name, progress } = found[0] ?? {};
    const warning = ambiguous ? 'Several queues have a job with this id. Watch QUEUE/ID instead.' : undefined;
    job.shown = { name: name?.slice(0, LONGEST_TEXT), progress: shortened(progress), note: warning };
    keepShown(key, job);
    // A job that was there, and is not, was removed without an event [8 of "The whole client"].
    if (unknown && was && was !== 'unknown') return end(key, job, 'removed', {}, Date.now());
    // The outcome of a job that has ended follows as an event.
    const alive = unknown ? { state: 'unknown' } : found.find(({ state }) => !isOutcome(state));
    if (alive) change(job, alive.state, begunOf(alive));
    keepTold(key, job);
  }

  function change(job, state, at) {
    if (job.told.state !== state) job.told = { ...job.told, state, at };
  }

  function note(key, job, message) {
    job.shown = { ...job.shown, note: message };
    keepShown(key, job);
  }

  function heard(key, job, event, data, id) {
    if (event === 'progress') {
      job.shown = { ...job.shown, progress: shortened(data.data) };
      return keepShown(key, job); // its position is not written to the disk ten times a second, so it is read back instead
    }
    // Without an id, an earlier event is still owed [P3].
    if (id) job.told = { ...job.told, after: { ...job.told.after, [data.queue]: id } };
    const at = id ? Number.parseInt(id) : Date.now();
    if (isOutcome(event)) return end(key, job, event, data, at);
    change(job, event, at);
    keepTold(key, job);
  }

  async function end(key, job, state, data, at) {
    change(job, state, at);
    job.shown = { name: job.shown.name, text: saidBy(data) };
    try {
      await ended(key, job);
    } finally {
      await keepShown(key, job);
      await keepTold(key, job);
      if (watched.get(key) === job) watched.delete(key);
    }
  }

  /** Let positions begin again after a gap, unless the stream was trimmed [R6]. */
  function startAgain({ queue, jobs: ids, reason }) {
    if (!reason || reason === 'trimmed') return;
    for (const [key, job] of watched)
      if ([null, queue].includes(job.queue) && (ids?.includes(job.jobId) ?? true)) {
        job.told = { ...job.told, after: { ...job.told.after, [queue]: '0-0' } };
        keepTold(key, job);
      }
  }

  /** Connects, subscribes and leaves, so that exactly the jobs that the store has are watched, and none without a bridge. */
  async function follow() {
    const { bridge: wanted, connection, jobs: stored } = await everything();
    const running = [...stored].filter(([, job]) => !isOutcome(job.told.state));
    if (jobs && bridge.at !== wanted?.at) close();
    for (const [key, { since }] of [...watched]) if (stored.get(key)?.since !== since) leave(key);
    const isRefused = ['token', 'refused'].includes(connection.state) && connection.at === wanted?.at;
    if (!wanted || !running.length) {
      close();
      if (connection.state !== 'idle') await keepConnection('idle');
    } else if (!isRefused) {
      if (!jobs) open(wanted);
      for (const [key, job] of running) if (!watched.has(key)) subscribe(key, job);
    }
  }

  /** Subscribes again to all jobs. The answers have present positions: the queue may soon have trimmed those of a silent job. */
  function refresh() {
    for (const [key, job] of watched) if (!isOutcome(job.told.state)) subscribe(key, job);
  }

  return { follow, refresh };
}
