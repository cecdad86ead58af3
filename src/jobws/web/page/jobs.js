/** The jobs of one queue: what Redis has of them, page by page, and what happens while they are shown. */

import { percentOf, wordsOf } from '../src/elements/progress.js';
import { Again } from './again.js';
import { line } from './format.js';
import { apply, ENDED, EVENTS, isLater, Job, merge, none, STATES, timeOf } from './model.js';

const PAGE = 200;
const PORTION = 200; // jobs that are looked up together
const TOGETHER = 3; // pages that are read at a time
const LOOK_AFTER = 300; // milliseconds, since more jobs are soon to be looked up
const PROGRESS = 24; // characters of a progress that is no percentage
export const MOST = 10000; // jobs that are kept

/** Returns what a row shows of a progress: a percentage, or a short text. */
const brief = (progress) => percentOf(progress) ?? (line(wordsOf(progress), PROGRESS) || undefined);

/** Returns what a row shows of a snapshot. */
const slim = ({ jobId, name, state, at, attemptsMade, timestamp, processedOn, finishedOn, progress }) => ({
  ...{ jobId, name, state, at, attemptsMade, timestamp, processedOn, finishedOn },
  progress: brief(progress),
});

/**
 * Keeps the jobs of `queue`, in the order in which they were added. `changed(moved)` is called after each change. `moved` is true if
 * jobs came or went, or changed their state, so that the list is another one. `failed(error)` is called if Redis cannot be read now;
 * it is tried again.
 */
export function Jobs(bridge, queue, changed, failed) {
  const byId = new Map();
  const cursors = new Map(STATES.map((state) => [state, undefined])); // null: there is no further page
  let order = [];
  let left = false;
  let nowhere = '';
  const age = (job) => job.timestamp ?? 0;

  function take(event, data, id) {
    nowhere = event === 'ended' ? data.message : '';
    if (nowhere) return changed(true);
    // Between these and what came before, there may be events that did not come.
    if (['ack', 'gap', 'cleaned'].includes(event)) return check();
    if (!data?.jobId || !EVENTS.includes(event)) return;
    let job = byId.get(data.jobId);
    if (id && job?.at && !isLater(id, job.at)) return; // its snapshot is younger
    if (event === 'removed') return job && drop(job);
    if (!job) {
      job = keep(Job(queue, data.jobId));
      // Of a job that was there before, only a snapshot says its name.
      if (event !== 'added') look(job.jobId);
    }
    const moved = apply(job, event, data, timeOf(id));
    job.progress = brief(job.progress);
    job.reason = undefined;
    job.at = id ?? job.at;
    changed(moved || event === 'added');
  }

  function keep(job) {
    byId.set(job.jobId, job);
    order.push(job);
    if (order.length > MOST) forget();
    return job;
  }

  function drop(...jobs) {
    for (const job of jobs) {
      byId.delete(job.jobId);
      wanted.delete(job.jobId);
      job.state = 'removed';
    }
    order = order.filter(({ state }) => state !== 'removed');
    changed(true);
  }

  /** Drops a tenth of the jobs, the oldest ones: first those that have ended, last those that run. */
  function forget() {
    const rank = ({ state }) => (ENDED.includes(state) ? 0 : state === 'active' ? 2 : 1);
    drop(...[...order].sort((a, b) => rank(a) - rank(b)).slice(0, MOST / 10));
  }

  /** Reads the first pages again, and looks up all jobs that are not in them. */
  function check() {
    checks++;
    for (const [jobId, job] of byId) {
      wanted.add(jobId);
      job.at = undefined; // in a stream that is another one, positions begin again
    }
    for (const state of STATES) pages.set(state, true);
    read();
  }

  const pages = new Map(); // the states of which a page is to be read, to whether it is the first one
  let checks = 0;
  let reading = false;
  const readAgain = Again(read);
  /** Reads the pages, a few at a time. If a page cannot be read, it is tried again later. */
  async function read() {
    if (reading || left) return;
    reading = true;
    readAgain.stop();
    let problem;
    const next = async () => {
      for (const [state, first] of pages) {
        pages.delete(state);
        try {
          await page(state, first);
        } catch (error) {
          problem ??= [error];
          problem.push([state, first]);
        }
        if (left) return;
      }
    };
    await Promise.all(Array.from({ length: TOGETHER }, next));
    reading = false;
    if (left) return;
    if (problem) {
      const [error, ...states] = problem;
      for (const [state, first] of states) pages.set(state, first || pages.get(state));
      if (readAgain.later()) failed(error);
    } else readAgain.done();
    if (!problem || order.length) sort();
    if (wanted.size) look();
    if (!problem && pages.size) read();
  }

  async function page(state, first) {
    const query = { queue, state, limit: PAGE, cursor: first ? undefined : cursors.get(state) };
    const round = checks;
    const { jobs, cursor } = await bridge.get('queue-jobs', query).catch(none);
    if (!first || cursors.get(state) === undefined) cursors.set(state, cursor);
    for (const snapshot of jobs) {
      wanted[round === checks ? 'delete' : 'add'](snapshot.jobId);
      merge(byId.get(snapshot.jobId) ?? keep(Job(queue, snapshot.jobId)), slim(snapshot));
    }
  }

  const wanted = new Set(); // the ids of jobs that are to be looked up
  let looking;
  const lookAgain = Again(ask);
  function look(jobId) {
    if (jobId) wanted.add(jobId);
    if (!lookAgain.waits && !left) looking ??= setTimeout(ask, LOOK_AFTER);
  }

  /** Looks up a portion of the jobs. Those that Redis does not have are dropped. */
  async function ask() {
    const before = [...wanted].slice(0, PORTION).map((jobId) => [jobId, byId.get(jobId)?.at]);
    const jobs = before.map(([jobId]) => jobId);
    const round = checks;
    looking = true;
    const { results } = jobs.length
      ? await bridge.post('lookup', {}, { jobs, queue }).catch(() => ({}))
      : { results: [] };
    looking = undefined;
    if (left) return;
    if (!results) return lookAgain.later();
    lookAgain.done();
    if (round !== checks) return look(); // there may be events that came neither before nor after this answer
    const gone = [];
    results.forEach(({ jobs: [found] = [], error }, index) => {
      const [jobId, at] = before[index];
      wanted.delete(jobId);
      const job = byId.get(jobId);
      if (!job) return;
      if (found) merge(job, slim(found));
      else if ((!error || error.code === 'unknown-queue') && job.at === at) gone.push(job);
    });
    if (gone.length) drop(...gone);
    sort();
    if (wanted.size) look();
  }

  function sort() {
    order.sort((a, b) => age(a) - age(b));
    changed(true);
  }

  const leave = bridge.follow(queue, ['*'], take);
  const forgetConnect = bridge.onConnect(() => {
    readAgain.now();
    lookAgain.now();
  });
  return {
    byId,
    /** The jobs, the oldest first. */
    get order() {
      return order;
    },
    /** A sentence that the bridge does not know the queue; otherwise ''. */
    get nowhere() {
      return nowhere;
    },
    /** Reads the next page of each of these states that has one. */
    more(states) {
      if (reading || readAgain.waits) return;
      for (const state of states) if (cursors.get(state)) pages.set(state, false);
      read();
    },
    hasMore: (states) => order.length < MOST && states.some((state) => cursors.get(state)),
    close() {
      left = true;
      leave();
      forgetConnect();
      clearTimeout(looking);
      readAgain.end();
      lookAgain.end();
    },
  };
}
