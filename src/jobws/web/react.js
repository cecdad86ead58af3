/** A job in a React component: `const { status, result } = useJob(jobs, jobId)`. */
import { useEffect, useMemo, useState } from 'react';
import { JobFailed, JobRemoved, JobUnknown } from './jobws.js';

const IDLE = { status: 'idle', result: undefined, error: undefined, progress: undefined };
const PENDING = { ...IDLE, status: 'pending' };
const KNOWN = { status: 'pending', error: undefined };
const PROGRESS = ['progress'];

/**
 * What is known of a job: `{status, result, error, progress}`. Without an id it is `idle`. An `unknown` job becomes what
 * it is once it is added; if the bridge refuses to tell, it is `unknown`, too, and `error` says why.
 */
export function useJob(jobs, jobId, { queue, events = PROGRESS } = {}) {
  const names = JSON.stringify(events);
  const subject = useMemo(() => ({ jobs, jobId, queue, names }), [jobs, jobId, queue, names]);
  const [told, setTold] = useState({});
  useEffect(() => {
    if ((subject.jobId ?? null) !== null) return follow(subject, (view) => setTold({ subject, view }));
  }, [subject]);
  // What was told of another job is not shown for a moment, either.
  if (told.subject === subject) return told.view;
  return (jobId ?? null) === null ? IDLE : PENDING;
}

/** Show what becomes of the job; returns how to leave it. */
function follow({ jobs, jobId, queue, names }, tell) {
  const leaving = new AbortController();
  const { signal } = leaving;
  let view = PENDING;
  const show = (news) => signal.aborted || tell((view = { ...view, ...news }));
  const wait = (expect) =>
    jobs.wait(jobId, { queue, expect, signal }).then(
      (result) => show({ status: 'completed', result, error: undefined }),
      (error) => {
        const status = error instanceof JobFailed ? 'failed' : error instanceof JobRemoved ? 'removed' : 'unknown';
        show({ status, error });
        if (error instanceof JobUnknown) wait(true);
      },
    );
  const watch = async () => {
    for await (const { event, data } of jobs.watch(jobId, { queue, events: JSON.parse(names), signal }))
      if (event === 'progress') show({ progress: data.data, ...(view.status === 'unknown' && KNOWN) });
  };
  wait(false);
  watch().catch(() => {}); // `wait` ends with the same error
  return () => leaving.abort();
}
