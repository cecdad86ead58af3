// A producer and a worker of one queue: node worker.mjs PORT PASSWORD PREFIX QUEUE
// Says "ready", then adds each job that a line of standard input describes, and ends with standard input.
import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';

const [port, password, prefix, name] = process.argv.slice(2);
const options = { connection: { host: '127.0.0.1', port: Number(port), password }, prefix };

const processors = {
  succeed: (job) => job.data.result,
  fail: (job) => { throw new Error(job.data.reason); },
  large: (job) => 'x'.repeat(job.data.size),
  surrogate: () => 'lone \ud800, line \u2028, emoji 👩‍👩‍👧‍👦',
  progress: async (job) => {
    for (const step of job.data.steps) await job.updateProgress(step);
    return 'done';
  },
};

const queue = new Queue(name, options);
const worker = new Worker(name, (job) => processors[job.data.do](job), options);
await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
console.log('ready');

for await (const line of createInterface({ input: process.stdin })) {
  const { name: jobName, data, opts } = JSON.parse(line);
  await queue.add(jobName, data, opts);
}
await worker.close();
await queue.close();
