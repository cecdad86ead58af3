/** What is known of a job, and how events change it. Times are epoch milliseconds by the clock of Redis. */

export const STATES = ['waiting', 'active', 'delayed', 'prioritized', 'waiting-children', 'completed', 'failed'];
export const ENDED = ['completed', 'failed', 'removed'];

/** The events that `apply` knows. */
export const EVENTS = [
  ...['added', 'waiting', 'delayed', 'waiting-children', 'prioritized', 'active', 'progress'],
  ...ENDED,
];
// What a job that begins anew does not have yet, and what a snapshot leaves out if the job does not have it.
const NONE = Object.fromEntries(
  'since due processedOn finishedOn progress reason result largeOutcome stacktrace'.split(' ').map((key) => [key, undefined]),
);

/** Returns a job of which only the id is known, and what `snapshot` says. */
export const Job = (queue, jobId, snapshot = {}) => ({
  queue,
  jobId,
  name: '',
  state: '',
  attemptsMade: 0,
  ...snapshot,
});

/** Returns no jobs, if an error says that the bridge does not know the queue. Otherwise throws it. */
export function none(error) {
  if (error.code !== 'unknown-queue') throw error;
  return { jobs: [], cursor: null };
}

/** The time of an event, from its position. */
export const timeOf = (id) => (id ? Number.parseInt(id, 10) : undefined);

/** Whether the position `a` is later than `b`, of the same queue. No position (undefined or null) is earlier than every position. */
export function isLater(a, b) {
  if (!a || !b) return !!a;
  const [[ms, seq], [ms2, seq2]] = [a, b].map((each) => each.split('~')[0].split('-').map(Number));
  return ms > ms2 || (ms === ms2 && seq > seq2);
}

/** Changes a job by a snapshot. What events have told since is younger than it. Returns whether nothing has. */
export function merge(job, snapshot) {
  const young = !isLater(job.at, snapshot.at);
  const { state, attemptsMade, name, timestamp } = snapshot;
  const { since, due, reason } = job;
  if (young)
    Object.assign(job, NONE, { data: undefined }, state === job.state && { since, due, reason }, snapshot);
  else
    Object.assign(job, {
      ...snapshot,
      ...job,
      timestamp,
      name: job.name || name,
      state: job.state || state,
      attemptsMade: job.attemptsMade || attemptsMade,
    });
  return young;
}

/** Changes a job by an event that happened at the time `at`. Returns whether this has changed its state. */
export function apply(job, event, data, at) {
  const before = job.state;
  const tried = (job.attemptsMade ?? 0) + (before === 'active'); // if the attempt is over
  switch (event) {
    case 'added':
      // If there was a job of this id, this is another one.
      Object.assign(job, NONE, {
        name: data.name ?? '',
        state: 'waiting',
        attemptsMade: 0,
        timestamp: at ?? job.timestamp,
        data: undefined,
      });
      break;
    case 'waiting':
      if (data.prev === 'failed' || data.prev === 'completed') Object.assign(job, NONE);
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
