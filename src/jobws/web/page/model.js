/** What is known of a job, and how events change it. Times are epoch milliseconds by the clock of Redis. */

export const STATES = ['waiting', 'active', 'delayed', 'prioritized', 'waiting-children', 'completed', 'failed'];
export const ENDED = ['completed', 'failed', 'removed'];

/** Returns a job of which only the id is known, and what `snapshot` says. */
export const Job = (queue, jobId, snapshot = {}) => ({
  queue,
  jobId,
  name: '',
  state: '',
  attemptsMade: 0,
  ...snapshot,
});

/** The time of an event, from its position. */
export const timeOf = (id) => (id ? Number.parseInt(id, 10) : undefined);

/** Whether the position `a` is later than `b`, of the same queue. No position (undefined or null) is earlier than every position. */
export function isLater(a, b) {
  if (!a || !b) return !!a;
  const [[ms, seq], [ms2, seq2]] = [a, b].map((each) => each.split('~')[0].split('-').map(Number));
  return ms > ms2 || (ms === ms2 && seq > seq2);
}

/** Changes a job by an event that happened at the time `at`. Returns whether this has changed its state. */
export function apply(job, event, data, at) {
  const before = job.state;
  const tried = (job.attemptsMade ?? 0) + (before === 'active'); // if the attempt is over
  switch (event) {
    case 'added':
      Object.assign(job, { name: data.name ?? job.name, timestamp: job.timestamp ?? at });
      break;
    case 'waiting':
      if (data.prev === 'failed' || data.prev === 'completed')
        Object.assign(job, { finishedOn: undefined, progress: undefined, reason: undefined, result: undefined });
      Object.assign(job, { state: 'waiting', since: at, timestamp: job.timestamp ?? at, attemptsMade: tried });
      break;
    case 'delayed':
      Object.assign(job, { state: 'delayed', since: at, due: data.delay, attemptsMade: tried });
      break;
    case 'waiting-children':
    case 'prioritized':
      Object.assign(job, { state: event, since: at });
      break;
    case 'active':
      Object.assign(job, { state: 'active', since: at, processedOn: at });
      break;
    case 'progress':
      job.progress = data.data;
      break;
    case 'completed':
    case 'failed':
      Object.assign(job, { state: event, since: at, finishedOn: at, attemptsMade: Math.max(1, tried) });
      if (event === 'failed') job.reason = data.failedReason;
      break;
    case 'removed':
      Object.assign(job, { state: 'removed', since: at });
  }
  return before !== job.state;
}

/** Returns for how long a job waited before its last attempt, or has been waiting; undefined if nobody knows. */
export function waited(job, now) {
  if (!job.timestamp) return undefined;
  if (job.state === 'waiting' || job.state === 'prioritized') return now - (job.since ?? job.timestamp);
  return job.processedOn && job.processedOn - job.timestamp;
}

/** Returns for how long its last attempt took, or has been taking until now. */
export function ran(job, now) {
  if (!job.processedOn || job.state === 'waiting' || job.state === 'delayed') return undefined;
  return (job.finishedOn ?? (job.state === 'active' ? now : undefined)) - job.processedOn || undefined;
}

/**
 * Returns how much of a job is done, 0 to 1. Its progress must be a percentage, or an object that has one (`percent`) or two counts
 * (`done` and `total`). Otherwise this returns null.
 */
export function fraction(progress) {
  if (typeof progress === 'number') return clamp(progress / 100);
  if (!progress || typeof progress !== 'object') return null;
  const { percent, percentage, progress: inner, done, current, total } = progress;
  const percents = [percent, percentage, inner].find((each) => typeof each === 'number');
  if (percents !== undefined) return clamp(percents / 100);
  const part = [done, current].find((each) => typeof each === 'number');
  return part !== undefined && total > 0 ? clamp(part / total) : null;
}

const clamp = (value) => (Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : null);

/** Returns how long the job will take from now, if it goes on as fast as until now; null if nobody knows. */
export function left(job, now) {
  const done = fraction(job.progress);
  if (!done || done >= 1 || job.state !== 'active' || !job.processedOn) return null;
  return ((now - job.processedOn) * (1 - done)) / done;
}
