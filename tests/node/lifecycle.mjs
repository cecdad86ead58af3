// Everything that BullMQ can tell of a queue, by a worker and the queue's own calls: node lifecycle.mjs PORT PASSWORD PREFIX QUEUE
// Says "ready", then "done" after each step that a line of standard input names, and ends with standard input.
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlowProducer, Queue, QueueEventsProducer, Worker } from 'bullmq';
import Redis from 'ioredis';

const [port, password, prefix, name] = process.argv.slice(2);
const options = { connection: { host: '127.0.0.1', port: Number(port), password }, prefix };
const queue = new Queue(name, options);
const producer = new QueueEventsProducer(name, options);
const flows = new FlowProducer(options);

const redis = new Redis(options.connection);

const until = async (is) => {
  while (!(await is())) await sleep(10);
};
const runs = new Map();
const process_ = async (job) => {
  const run = (runs.get(job.id) ?? 0) + 1;
  runs.set(job.id, run);
  const { steps = [], failing = 0, reason, result, stalls } = job.data;
  for (const step of steps) await job.updateProgress(step);
  if (stalls && run === 1) {
    // Without its lock the job is taken for one of a dead worker.
    await redis.del(queue.toKey(`${job.id}:lock`));
    await until(async () => runs.get(job.id) === 2);
    return null; // refused: the second run has the job
  }
  if (run <= failing) throw new Error(reason);
  return result;
};
/** Let a worker work until nothing is left to do. */
const work = async () => {
  const worker = new Worker(name, process_, { ...options, concurrency: 2, stalledInterval: 100, lockDuration: 5000 });
  worker.on('error', () => {}); // the first run of a stalled job has lost its lock
  await until(async () => {
    const counts = await queue.getJobCounts('wait', 'active', 'delayed', 'prioritized', 'waiting-children');
    return Object.values(counts).every((count) => count === 0);
  });
  await worker.close();
};
const add = (jobId, data = {}, opts = {}) => queue.add(`näme of ${jobId}`, data, { jobId, ...opts });

const steps = {
  async run() {
    await add('success', { steps: [0, 50.5, { stage: 'é' }, 'almost', true, [1, 'two'], null], result: { ok: [1, null, '💥'] } });
    await add('exhausted', { failing: 9, reason: 'échec 💥\nsecond line' }, { attempts: 2 });
    await add('backed-off', { failing: 1, reason: 'again' }, { attempts: 2, backoff: { type: 'fixed', delay: 30 } });
    await add('later', { result: 'late' }, { delay: 50 });
    await add('urgent', { result: 1 }, { priority: 5 });
    await add('gone', { result: 'only in the stream' }, { removeOnComplete: true });
    await add('stalls', { stalls: true });
    await flows.add({
      name: 'parent', queueName: name, opts: { jobId: 'parent' },
      children: [{ name: 'child', queueName: name, opts: { jobId: 'child' } }],
    });
    await work();
  },
  async afterwards() {
    await (await queue.getJob('success')).updateProgress(100);
    await (await queue.getJob('exhausted')).retry();
    await work();
    await queue.remove('later');
  },
  async queue() {
    await queue.pause();
    await add('waits');
    await add('postponed', {}, { delay: 600_000 });
    await add('postponed');
    await (await queue.getJob('postponed')).changeDelay(700_000);
    await (await queue.getJob('postponed')).promote();
    await queue.resume();
    await queue.add('first', {}, { jobId: 'first', deduplication: { id: 'one' } });
    await queue.add('second', {}, { jobId: 'second', deduplication: { id: 'one' } });
    await queue.drain();
    await queue.clean(0, 1, 'completed');
    await queue.clean(0, 100, 'failed');
  },
  async custom() {
    await producer.publishEvent({ eventName: 'mine', jobId: '7', text: 'naïve', number: 5 }, 100_000);
    await producer.publishEvent({ eventName: 'mine', text: 'without a job' }, 100_000);
    await producer.publishEvent({ eventName: 'completed', returnvalue: '{"of": "nobody"}' }, 100_000);
    await producer.publishEvent({ eventName: 'progress', jobId: '7', data: '[1]' }, 100_000);
    await producer.publishEvent({ eventName: 'drained' }, 100_000);
    await producer.publishEvent({ eventName: 'gap', queue: 'not this one', x: '' }, 100_000);
  },
};

await queue.waitUntilReady();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  await steps[line]();
  console.log('done');
}
await Promise.all([queue.close(), producer.close(), flows.close(), redis.quit()]);
