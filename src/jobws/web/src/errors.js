/** What goes wrong, by name. */

/** Base of all errors of this module. `code` is the bridge's, if it is the bridge that refused. */
export class JobwsError extends Error {
  name = 'JobwsError';

  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

const ofJob = (name, say) =>
  class extends JobwsError {
    name = name;

    constructor(jobId, queue, reason) {
      super(say(queue === undefined ? `job ${jobId}` : `job ${jobId} of queue ${queue}`, reason));
      Object.assign(this, { jobId, queue, reason });
    }
  };

/** A job that was waited for failed, and will not be tried again. `reason` is its `failedReason`. */
export const JobFailed = ofJob('JobFailed', (job, reason) => `${job} failed: ${reason}`);
/** A job that was waited for was removed before it had ended. */
export const JobRemoved = ofJob('JobRemoved', (job) => `${job} was removed before it had ended`);
/** There is no such job, and no outcome of one, as far as Redis remembers. */
export const JobUnknown = ofJob('JobUnknown', (job) => `no ${job}; if it is about to be added, wait with {expect: true}`);

/** There is no such queue. */
export const queueUnknown = (jobId, queue) =>
  new JobwsError(`${jobId}: no queue ${queue}; if it is about to come, wait with {expect: true}`, 'unknown-queue');

/** It has not ended within the time that its user gave it: `reason`, in milliseconds. */
export const JobTimeout = ofJob('TimeoutError', (job, milliseconds) => `${job} has not ended within ${milliseconds} ms`);
