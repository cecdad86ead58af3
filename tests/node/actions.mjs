// Queues with workers, and what actions need: node actions.mjs PORT PASSWORD QUEUE…
// Says "ready", then answers each line of standard input, a method of `answers` with its arguments, with a line of JSON.
import { createInterface } from 'node:readline';
import { FlowProducer, Queue, Worker } from 'bullmq';

const [port, password, ...names] = process.argv.slice(2);
const options = { connection: { host: '127.0.0.1', port: Number(port), password } };
const held = [];

const processors = {
  succeed: (job) => job.data.result,
  fail: () => { throw new Error('again'); },
  // Fails in its first run.
  recover: (job) => {
    if (job.attemptsStarted === 1) throw new Error('at first');
    return 'at last';
  },
  holdAndFail: () => new Promise((_, reject) => held.push(() => reject(new Error('no')))),
  hold: () => new Promise((resolve) => held.push(resolve)),
};

const queues = Object.fromEntries(names.map((name) => [name, new Queue(name, options)]));
const workers = names.map((name) => new Worker(name, (job) => processors[job.data.do](job), options));
const flows = new FlowProducer(options);

const answers = {
  add: async (queue, jobId, data, opts = {}) => (await queues[queue].add('test', data, { ...opts, jobId })).id,
  flow: async (tree) => (await flows.add(tree)).job.id,
  state: (queue, jobId) => queues[queue].getJobState(jobId),
  counts: (queue) => queues[queue].getJobCounts('waiting', 'active', 'failed', 'completed', 'delayed'),
  paused: (queue) => queues[queue].isPaused(),
  every: async (queue, id) => {
    const hour = 3600000;
    return (await queues[queue].upsertJobScheduler(id, { every: hour, startDate: Date.now() + hour }, { data: { do: 'succeed' } })).id;
  },
  release: () => held.splice(0).map((resolve) => resolve('released')).length,
};

await Promise.all([...Object.values(queues), ...workers, flows].map((each) => each.waitUntilReady?.()));
console.log('ready');

for await (const line of createInterface({ input: process.stdin })) {
  const [method, ...args] = JSON.parse(line);
  console.log(JSON.stringify((await answers[method](...args)) ?? null));
}
await Promise.all(workers.map((worker) => worker.close(true)));
await Promise.all([...Object.values(queues), flows].map((each) => each.close()));
