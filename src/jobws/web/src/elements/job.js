/**
 * What is known of one job. This is an object that never changes: `answered` and `told` return a new one for each answer and each
 * event of the bridge. Times are epoch milliseconds. Brackets such as [S12] name rules of protocol.md.
 */

import { firstSamples, percentOf, sampled } from './progress.js';
import { sentence } from './sentence.js';

/** The events that a job's state is made of. Outcomes always come. */
export const EVENTS = [
  'added',
  'waiting',
  'active',
  'progress',
  'delayed',
  'waiting-children',
  'stalled',
  'retries-exhausted',
];
const OUTCOMES = ['completed', 'failed', 'removed'];
// As many log lines as the bridge reads back [S12].
const MOST_LINES = 1000;

/**
 * Before anything is known. `state` is one of S2, or `removed`, `missing` (there is no such job), `refused` (the bridge does not
 * tell, and `reason` says why), or `''`. `attempts` says how many were made. `due` is when a delayed job may run. `samples` are
 * those of progress.js. If the result is too large for an event, `whole` is the id of that event, and `bytes` is how large the
 * result is. `gone` is true if the job was removed after its end. `at` is the stream id up to which all that happened is in here.
 * `lines` are the last log lines, of the `count` that came; `next` is the number of the next one.
 */
export const NOTHING = {
  state: '',
  queue: undefined,
  jobId: '',
  name: '',
  attempts: 0,
  added: null,
  started: null,
  ended: null,
  due: null,
  progress: undefined,
  samples: [],
  result: undefined,
  reason: '',
  whole: null,
  bytes: 0,
  gone: false,
  at: null,
  lines: [],
  count: 0,
  next: 0,
};
// What begins anew if a job that has ended is retried, or added again.
const { started, ended, due, progress, samples, result, reason, whole, gone } = NOTHING;
const NEW_LIFE = { attempts: 0, started, ended, due, progress, samples, result, reason, whole, gone };

/** Whether the job has ended. */
export const isOver = ({ state }) => OUTCOMES.includes(state);

const timeOf = (id) => (id ? Number(id.split('-')[0]) : null);
const isAfter = (id, other) => {
  const [[a, b], [c, d]] = [id, other].map((each) => each.split(/[-~]/).map(Number));
  return a > c || (a === c && b > d);
};

/** Returns the job after the answer to `subscribe-job`, at the time `now`. If several queues have a job of this id, it is the first one. */
export function answered(job, { error, unknown, jobs = [] }, now) {
  if (error) return { ...job, state: 'refused', reason: sentence(error) };
  const found = jobs.find(({ queue }) => queue === (job.queue ?? queue));
  if (!found) return unknown && !isOver(job) ? { ...job, state: 'missing', reason: '' } : job;
  const { queue, jobId, name, state, at, attemptsMade = 0, timestamp, processedOn, finishedOn } = found;
  const times = { added: timestamp ?? null, started: processedOn ?? null, ended: finishedOn ?? null };
  // Events that came together with the answer know more.
  if (job.at && at && isAfter(job.at, at))
    return { ...job, name: job.name || name, added: job.added ?? times.added, started: job.started ?? times.started };
  const anew = isOver(job) && !isOver(found) ? NEW_LIFE : {};
  const reason = isOver(job) && isOver(found) ? job.reason : '';
  const { progress = job.progress } = found;
  const known = { ...job, ...anew };
  const samples = known.samples.length ? known.samples : firstSamples(found, now);
  return { ...known, queue, jobId, name, state, at, attempts: attemptsMade, progress, samples, reason, ...times };
}

/** Returns the job after an event, which came at the time `now`. */
export function told(job, event, data, id, now) {
  if (event === 'job-log') return logged(job, data);
  const outcome = OUTCOMES.includes(event);
  if (job.queue !== undefined && data.queue !== job.queue) return job;
  // A connection that comes back brings what it missed, and a snapshot may know it already.
  if (!outcome && id && job.at && !isAfter(id, job.at)) return job;
  const { queue, jobId } = data;
  const next = {
    ...job,
    queue,
    jobId,
    ...(outcome ? outcomeOf(job, event, data, id) : change(job, event, data, id, now)),
  };
  return id && (!job.at || isAfter(id, job.at)) ? { ...next, at: id.split('~')[0] } : next;
}

function change(job, event, { prev, name, data, delay, attemptsMade }, id, now) {
  const attempts = job.attempts + (prev === 'active');
  switch (event) {
    case 'added':
      return { ...NEW_LIFE, name, state: 'waiting', added: timeOf(id) };
    case 'waiting':
      return isOver(job) || prev === 'failed' || prev === 'completed'
        ? { ...NEW_LIFE, state: 'waiting', added: timeOf(id) }
        : { state: 'waiting', attempts };
    case 'active':
      return { state: 'active', started: timeOf(id), ended: null, samples: attempts ? [] : [{ at: now, percent: 0 }] };
    case 'delayed':
      return { state: 'delayed', due: delay, attempts: job.attempts + (job.state === 'active') };
    case 'waiting-children':
      return { state: 'waiting-children' };
    case 'progress':
      return {
        progress: data,
        samples: percentOf(data) === null ? job.samples : sampled(job.samples, percentOf(data), now),
      };
    case 'stalled':
      return { attempts: Math.max(0, job.attempts - 1) }; // it is no attempt of BullMQ's
    case 'retries-exhausted':
      return { attempts: Number(attemptsMade) };
    default:
      return {};
  }
}

function outcomeOf(job, event, { returnvalue, failedReason = '', truncated, bytes = 0 }, id) {
  if (event === 'removed') return isOver(job) ? { gone: true } : { state: 'removed', ended: timeOf(id) };
  const ended = isOver(job) && job.ended ? job.ended : timeOf(id); // the job's own time, if it had ended before
  const whole = truncated && returnvalue === undefined && !failedReason ? id : null;
  return {
    state: event,
    ended,
    result: returnvalue,
    reason: failedReason,
    whole,
    bytes,
    attempts: job.attempts + !isOver(job),
  };
}

/**
 * Lines may come twice, from two subscriptions to the job: then they are the same under the same numbers. Numbers begin again
 * where the bridge lost its place in the list [E9].
 */
function logged(job, { lines, first, gap }) {
  const again = gap ? 0 : Math.max(0, job.next - first);
  const repeated =
    again && lines.slice(0, again).every((line, index) => line === job.lines.at(index - again)) ? again : 0;
  const fresh = [...(gap ? ['… lines may be missing here'] : []), ...lines.slice(repeated)];
  return {
    ...job,
    lines: [...job.lines, ...fresh].slice(-MOST_LINES),
    count: job.count + fresh.length,
    next: first + lines.length,
  };
}
