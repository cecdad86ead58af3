// What the types of the elements allow and forbid. It is compiled, and never run.
import { JobElement, JobwsElement } from 'jobws/elements';
import 'jobws/react';

JobwsElement.token = async () => 't';
JobwsElement.url = new URL('http://127.0.0.1:8787');

export function Shown({ id }: { id: number }) {
  return (
    <main>
      <jobws-job queue="http" job={id} className="wide" token={() => 't'} onjobws-state={({ detail }) => detail.reason} />
      <jobws-queue queue="http" url="http://127.0.0.1" onjobws-stats={({ detail }) => detail.counts.waiting.toFixed()} />
      <jobws-logs level="error" source="worker" />
      {/* @ts-expect-error: it has no such attribute */}
      <jobws-queue name="http" />
    </main>
  );
}

const job = document.querySelector('jobws-job')!;
job.addEventListener('jobws-state', ({ detail: { state, jobId } }) => [state === 'failed', jobId.length]);
job.token = 't';
job.job = '42';
export const isOne: boolean = job instanceof JobElement && job.state === 'completed' && job.queue === null;
// @ts-expect-error: it is read only
job.state = 'failed';
