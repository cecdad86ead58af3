/** What goes wrong, by name. */

const named = (jobId, queue) => (queue === undefined ? `job ${jobId}` : `job ${jobId} of queue ${queue}`);

/** Base of all errors of this module. `code` is the bridge's, if it is the bridge that refused. */
export class JobwsError extends Error {
  name = 'JobwsError';

  constructor(message, code) {
    super(message);
    if (code !== undefined) this.code = code;
  }
}
/** A job that was waited for failed, and will not be tried again. `reason` is its `failedReason`. */
export class JobFailed extends JobwsError {
  name = 'JobFailed';

  constructor(jobId, queue, reason) {
    super(`${named(jobId, queue)} failed: ${reason}`);
    Object.assign(this, { jobId, queue, reason });
  }
}
/** A job that was waited for was removed before it had ended. */
export class JobRemoved extends JobwsError {
  name = 'JobRemoved';

  constructor(jobId, queue) {
    super(`${named(jobId, queue)} was removed before it had ended`);
    Object.assign(this, { jobId, queue });
  }
}
/** There is no such job, and no outcome of one, as far as Redis remembers. */
export class JobUnknown extends JobwsError {
  name = 'JobUnknown';

  constructor(jobId, queue) {
    super(`no ${named(jobId, queue)}; if it is about to be added, wait with {expect: true}`);
    Object.assign(this, { jobId, queue });
  }
}
/** It has not ended within the time that its user gave it. */
export function timedOut(jobId, queue, milliseconds) {
  const error = new JobwsError(`${named(jobId, queue)} has not ended within ${milliseconds} ms`);
  error.name = 'TimeoutError';
  return error;
}
