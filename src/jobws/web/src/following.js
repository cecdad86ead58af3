/** What the module is for: to wait for a job's result, and to watch a job to its end. */

import { JobFailed, JobRemoved, JobwsError, timedOut } from './errors.js';
import { OUTCOMES } from './subscription.js';

export const BAD_ID = 'a job id is a text of 1 to 512 bytes, or an integer';
export function asId(jobId) {
  if (typeof jobId === 'string' && jobId) return jobId;
  return Number.isSafeInteger(jobId) ? String(jobId) : null;
}

/** Begin to follow a job; returns how to leave it. */
function follow({ subscriptions, connection }, jobId, queue, watcher) {
  const id = asId(jobId);
  const error = connection.failure ?? (id === null ? new JobwsError(BAD_ID, 'bad-job-id') : null);
  if (error) {
    queueMicrotask(() => watcher.refuse(error));
    return () => {};
  }
  const subscription = subscriptions.join(queue, id, watcher);
  return () => subscriptions.leave(subscription, watcher);
}

/** See `Jobs.wait` in jobws.d.ts. */
export function wait(client, jobId, { queue, timeout, expect = false, signal } = {}) {
  return new Promise((resolve, reject) => {
    let timer;
    const finish = (settle, value) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
      leave();
      settle(value);
    };
    const aborted = () => finish(reject, signal.reason);
    const leave = follow(client, jobId, queue, {
      events: [],
      strict: !expect,
      refuse: (error) => finish(reject, error),
      deliver: ({ event, data }) => {
        if (event === 'removed') return finish(reject, new JobRemoved(String(jobId), data.queue));
        const key = event === 'completed' ? 'returnvalue' : 'failedReason';
        const settle = (value) =>
          event === 'completed' ? finish(resolve, value) : finish(reject, new JobFailed(String(jobId), data.queue, value));
        if (key in data || !data.truncated) return settle(data[key]);
        // It was too large for an event.
        lookup(client, jobId, { queue: data.queue }).then(([job]) => settle(job?.[key]), (error) => finish(reject, error));
      },
    });
    if (signal?.aborted) return aborted();
    signal?.addEventListener('abort', aborted);
    if (timeout !== undefined) timer = setTimeout(() => finish(reject, timedOut(jobId, queue, timeout)), timeout);
  });
}

/** An iterator; see `Jobs.watch` in jobws.d.ts. */
export function watch(client, jobId, { queue, events = [], expect = true, logs = false, signal } = {}) {
  const items = [];
  let [wake, failure, over] = [null, null, false];
  const end = (error) => {
    failure ??= error;
    over = true;
    signal?.removeEventListener('abort', aborted);
    leave();
    wake?.();
  };
  const aborted = () => end(signal.reason);
  const leave = follow(client, jobId, queue, {
    events,
    logs,
    gaps: true,
    strict: !expect,
    refuse: end,
    deliver: (event) => {
      items.push(event);
      if (OUTCOMES.includes(event.event)) end();
      wake?.();
    },
  });
  if (signal?.aborted) aborted();
  signal?.addEventListener('abort', aborted, { once: true });
  return {
    next: async () => {
      while (!items.length && !over) await new Promise((resolve) => (wake = resolve));
      if (items.length) return { value: items.shift(), done: false };
      const error = failure;
      failure = null;
      if (error) throw error;
      return { value: undefined, done: true };
    },
    return: async () => {
      items.length = 0;
      end();
      return { value: undefined, done: true };
    },
  };
}

/** See `Jobs.lookup` in jobws.d.ts. */
export async function lookup({ connection }, jobId, { queue } = {}) {
  const token = await connection.token();
  const query = new URLSearchParams({ jobId, ...(queue !== undefined && { queue }) });
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(`${connection.settings.base}/jobs?${query}`, { headers, cache: 'no-store' });
  const answer = await response.json();
  if (response.ok) return answer.jobs ?? [answer];
  if (response.status === 404) return [];
  throw new JobwsError(answer.detail ?? `HTTP ${response.status}`, answer.code);
}
