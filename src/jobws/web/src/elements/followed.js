/** The jobs that the elements of a page follow on one connection. Elements that show the same job share its subscription. */

import { answered, EVENTS, NOTHING, told } from './job.js';

const keyOf = (...of) => JSON.stringify(of);

/** Returns the function `follow(queue, jobId, listener, logs)` of a client; it is described where it is returned, below. */
export function Followed(jobs) {
  const followed = new Map(); // by queue and id

  function Following(key, queue, jobId) {
    const listeners = new Map(); // to whether the listener wants log lines
    const self = {
      job: { ...NOTHING, queue, jobId },
      queue,
      jobId,
      show(job) {
        self.job = job;
        for (const listener of listeners.keys()) listener(job);
      },
      async subscribe() {
        const logs = [...listeners.values()].includes(true);
        self.logs = logs;
        const answer = await jobs.emitWithAck('subscribe-job', { jobId, queue, events: EVENTS, logs });
        if (followed.get(key) === self && answer.error?.code !== 'unsubscribed') self.show(answered(self.job, answer, Date.now()));
      },
      add(listener, logs) {
        const first = !listeners.size;
        listeners.set(listener, logs);
        if (first || (logs && !self.logs)) self.subscribe();
        else listener(self.job);
        return () => {
          if (!listeners.delete(listener) || listeners.size) return;
          followed.delete(key);
          jobs.emit('unsubscribe-job', { jobId, queue });
        };
      },
    };
    followed.set(key, self);
    return self;
  }

  function take(event, data, id) {
    for (const queue of [data.queue, undefined]) {
      const one = followed.get(keyOf(queue ?? null, data.jobId));
      one?.show(told(one.job, event, data, id, Date.now()));
    }
  }

  for (const event of [...EVENTS, 'completed', 'failed', 'removed', 'job-log'])
    jobs.on(event, (data, id) => take(event, data, id));
  // Events may be missing, so the job is subscribed to again: the answer has its present state.
  jobs.on('gap', ({ queue, jobs: ids }) => {
    for (const one of followed.values())
      if ((one.job.queue ?? queue) === (queue ?? one.job.queue) && (ids?.includes(one.jobId) ?? true)) one.subscribe();
  });
  jobs.on('ended', ({ queue, jobId, ...error }) => {
    const one = followed.get(keyOf(queue ?? null, jobId));
    one?.show(answered(one.job, { error }));
  });

  /**
   * Calls `listener` with the job (job.js) once its state is known, and after each change. Without `queue`, it is the job of this id in
   * any queue. With `logs`, the job has its log lines. Returns a function that ends this.
   */
  return (queue, jobId, listener, logs = false) => {
    const key = keyOf(queue ?? null, jobId);
    return (followed.get(key) ?? Following(key, queue, jobId)).add(listener, logs);
  };
}
