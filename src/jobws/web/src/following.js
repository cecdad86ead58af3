/** Watches a job to its end, and waits for its result. */

import { JobFailed, JobRemoved, JobTimeout, JobwsError } from './errors.js';
import { iterate } from './iterate.js';
import { loadHttp } from './loading.js';
import { OUTCOMES } from './subscription.js';
import { within } from './within.js';

export const BAD_ID = 'a job id is a text of 1 to 512 bytes, or an integer';
/** Returns the job id as a string, or '' if it is not valid. */
export const asId = (jobId) => (typeof jobId === 'string' ? jobId : Number.isSafeInteger(jobId) ? `${jobId}` : '');

/** Returns an async iterator of a job's events. See `Jobs.watch` in jobws.d.ts. */
export const watch = (connection, jobId, { queue, events = [], expect = true, logs, children, signal } = {}) =>
  iterate(connection, signal, (push, end) => {
    const id = asId(jobId);
    if (!id) return end(new JobwsError(BAD_ID, 'bad-job-id'));
    return connection.share(queue, id, {
      events,
      logs,
      children,
      strict: !expect,
      refuse: end,
      deliver: (frame) => push(frame, OUTCOMES.includes(frame.event) && !frame.parent),
    });
  });

/** Waits for a job to end. See `Jobs.wait` in jobws.d.ts. */
export function wait(connection, jobId, { timeout, expect = false, ...options } = {}) {
  const watched = watch(connection, jobId, { ...options, expect });
  const result = resultOf(watched, connection, jobId, options);
  const limited = timeout === undefined ? result : within(result, timeout, new JobTimeout(jobId, options.queue, timeout));
  return limited.finally(watched.return);
}

async function resultOf(watched, connection, jobId, { signal }) {
  let told;
  do told = (await watched.next()).value;
  while (told?.event === 'gap');
  if (!told) return; // the watch was ended
  const { event, data, id } = told;
  if (event === 'removed') throw new JobRemoved(String(jobId), data.queue);
  const key = event === 'completed' ? 'returnvalue' : 'failedReason';
  // A value that was too large for an event is looked up, by the event's position, since the job may be gone.
  const whole = key in data || !data.truncated;
  const [job] = whole ? [data] : await lookup(connection, jobId, { queue: data.queue, event: id, signal });
  if (event === 'failed') throw new JobFailed(String(jobId), data.queue, job?.[key]);
  return job?.[key];
}

/** Looks up a job. See `Jobs.lookup` in jobws.d.ts. */
export const lookup = async (...of) => (await loadHttp()).lookup(JobwsError, ...of);
/** Acts on a job or a queue. See `Jobs.act` in jobws.d.ts. */
export const act = async (...of) => (await loadHttp()).act(JobwsError, ...of);
