/** The errors of this module. */

/** The base class of all errors of this module. `code` is the code of the bridge's error, if the bridge refused. */
export class JobwsError extends Error {
  name = 'JobwsError';

  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** Returns an error as the answer to a request. */
export const refusal = ({ code = 'disconnected', message }) => ({ error: { code, message } });

const ofJob = (name, say) =>
  class extends JobwsError {
    name = name;

    constructor(jobId, queue, reason) {
      super(say(queue === undefined ? `job ${jobId}` : `job ${jobId} of queue ${queue}`, reason));
      Object.assign(this, { jobId, queue, reason });
    }
  };

/** The job failed, and will not be tried again. `reason` is its `failedReason`. */
export const JobFailed = ofJob('JobFailed', (job, reason) => `${job} failed: ${reason}`);
/** The job was removed before it ended. */
export const JobRemoved = ofJob('JobRemoved', (job) => `${job} was removed before it had ended`);
/** Redis has neither the job nor its outcome. */
export const JobUnknown = ofJob('JobUnknown', (job) => `no ${job}; if it is about to be added, wait with {expect: true}`);

/** The queue does not exist. */
export const queueUnknown = (jobId, queue) =>
  new JobwsError(`${jobId}: no queue ${queue}; if it is about to come, wait with {expect: true}`, 'unknown-queue');

/** The job did not end within the time limit `reason`, in milliseconds. */
export const JobTimeout = ofJob('TimeoutError', (job, milliseconds) => `${job} has not ended within ${milliseconds} ms`);

/** No bridge answers at the URL `base`. */
export function unreachable(base, reason) {
  const origin = globalThis.location?.origin;
  const allowed = origin ? `, and does it allow this page's origin (jobws serve --allow-origin ${origin})` : '';
  return new JobwsError(`no jobws bridge at ${base}: is it running there, is that its URL${allowed}? (${reason || 'refused'})`);
}
