// What the package's types allow and forbid. It is compiled, and never run.
import WebSocket from 'ws';
import anything, { connect, io, JobFailed, Jobs, JobwsError } from 'jobws';
import type { Answer, Positions, JobEvent, JobSnapshot, Transport } from 'jobws';
import { watchQueue } from 'jobws/queues';
import type { QueueStats } from 'jobws/queues';
import { useJob } from 'jobws/react';
import type { JobView } from 'jobws/react';

interface Page {
  title: string;
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>) {}

const jobs = io('http://127.0.0.1:8787', { WebSocket, auth: { token: 't' }, transports: ['websocket'] });
same<typeof jobs, Jobs>(true);
same<typeof anything, typeof connect>(true);
io({ token: () => 't' });
io(new URL('http://127.0.0.1:8787'), { auth: async () => ({ token: 't' }) });
io('/', { auth: (done) => done({ token: 't' }) });
// @ts-expect-error: it is told of at run time, too
io('/', { withCredentials: true });
// @ts-expect-error
jobs.connected = true;
same<typeof jobs.transport, Transport | null>(true);

// As with socket.io-client.
jobs.on('connect', () => {}).on('disconnect', (reason: string) => reason);
jobs.on('completed', ({ jobId, queue, returnvalue }) => [jobId.length, queue.length, returnvalue.anything]);
jobs.on('completed', (data: { jobId: string; returnvalue: Page }) => data.returnvalue.title);
jobs.on('connect_error', (error) => same<typeof error, JobwsError>(true));
jobs.once('my-event', (data) => data.whatever);
for (const name of ['completed', 'failed'] as const) jobs.on(name, ({ jobId }) => jobId.length);
// @ts-expect-error
jobs.on('failed', ({ returnvalue }) => returnvalue);
jobs.off('completed').off();
jobs.io.on('reconnect', (attempt) => attempt.toFixed());
jobs.emit('subscribe-job', '42');
jobs.emit('subscribe-job', [42, { jobId: '43', queue: 'http' }], (answer) => answer.results?.[0]?.error?.code);
jobs.emit('unsubscribe-job', { jobs: [42, '43'], queue: 'http' });
jobs.emit('ping', (answer) => same<typeof answer, Answer>(true));
jobs.emit('subscribe-queue', 'http');
jobs.emit('subscribe-job', { jobs: ['1', { jobId: '2', logs: { after: '4.0.x' } }], queue: 'http', logs: true });
// @ts-expect-error
jobs.emit('subscribe-job', { jobId: '1', logs: 'all' });
jobs.on('job-log', ({ jobId, lines, position }) => [jobId.length, lines.join('\n'), position.length]);
jobs.on('dropped', ({ count }) => count.toFixed());
// @ts-expect-error
jobs.emit('subscribe-job', { queue: 'http' });
jobs.timeout(1000).emit('ping', (error, answer) => [error?.code, answer?.after satisfies Positions | undefined]);
jobs.connect().disconnect().open().close();

export async function waiting(signal: AbortSignal): Promise<string> {
  const snapshots = await jobs.lookup<Page>('42', { queue: 'http' });
  same<typeof snapshots, JobSnapshot<Page>[]>(true);
  const flow = await jobs.lookup<Page>('42', { queue: 'http', children: true });
  same<typeof flow, JobSnapshot<Page>[]>(true);
  // @ts-expect-error
  await jobs.lookup('42', { children: true });
  const removed = await jobs.act('remove', { queue: 'http', jobId: 42, children: true, signal });
  same<typeof removed, { queue: string; jobId: string }>(true);
  (await jobs.act('retry-failed', { queue: 'http' })).failed?.toFixed();
  // @ts-expect-error
  await jobs.act('retry', { queue: 'http' });
  same<Awaited<ReturnType<typeof jobs.emitWithAck>>, Answer>(true);
  await jobs.timeout(1000).emitWithAck('ping');
  const unnamed = await jobs.wait('42');
  same<typeof unnamed, unknown>(true);
  // @ts-expect-error
  await jobs.wait('42', { seconds: 5 });
  try {
    return (await jobs.wait<Page>(42, { queue: 'http', timeout: 1000, expect: true, signal })).title;
  } catch (error) {
    if (error instanceof JobFailed) return error.reason;
    throw error;
  }
}

export async function watching(signal: AbortSignal): Promise<void> {
  for await (const told of jobs.watch<Page>('42', { events: ['progress', 'delayed'], logs: true, signal })) {
    same<typeof told, JobEvent<Page>>(true);
    switch (told.event) {
      case 'completed':
        same<typeof told.data.returnvalue, Page>(true);
        break;
      case 'delayed':
        same<typeof told.data.delay, number>(true);
        break;
      case 'removed':
        same<typeof told.data.queue, string>(true);
        break;
      case 'gap':
        same<typeof told.data.jobs, string[] | null>(true);
        break;
      case 'job-log':
        same<typeof told.data.lines, string[]>(true);
    }
    // @ts-expect-error: it is none of BullMQ's
    if (told.event === 'my-event') break;
  }
  for await (const told of jobs.watch<Page, 'my-event'>('42', { events: ['my-event'] }))
    if (told.event === 'my-event') same<typeof told.data.jobId, string>(true);
}

export async function wholeQueues(signal: AbortSignal, after: Positions): Promise<void> {
  for await (const told of watchQueue<Page>(jobs, ['http', 'sparql'], { events: ['*', 'queue-stats'], after, signal }))
    switch (told.event) {
      case 'completed':
        same<typeof told.data.returnvalue, Page>(true);
        break;
      case 'cleaned':
        same<typeof told.data.count, string>(true);
        same<typeof told.id, string | undefined>(true);
        break;
      case 'queue-stats':
        same<typeof told.data, QueueStats>(true);
        break;
      case 'ack':
        same<typeof told.data.after, Positions>(true);
        break;
      case 'gap':
        same<typeof told.data.queue, string | null>(true);
    }
  for await (const told of watchQueue<Page, 'my-event'>(jobs, '*', { events: ['my-event'] }))
    if (told.event === 'my-event') same<typeof told.data.jobId, string | undefined>(true);
  // @ts-expect-error
  watchQueue(jobs, 'http', { events: ['my-event'], logs: true });
}

export function narrowing(view: JobView<Page>): string | undefined {
  // @ts-expect-error: not yet
  view.result.title;
  if (view.status === 'completed') return view.result.title;
  return view.error?.message;
}
same<ReturnType<typeof useJob<Page>>, JobView<Page>>(true);
