// A worker that does what it is told: node logger.mjs PORT PASSWORD QUEUE
// A line of standard input adds a job ({"add": opts}), writes a line of its log ({"log": line}), clears the log but for the
// last lines ({"clear": number}), or ends the job ({"end": result}). Each is answered with "done" once Redis has it.
import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';

const [port, password, name] = process.argv.slice(2);
const options = { connection: { host: '127.0.0.1', port: Number(port), password } };

let begin, end;
const queue = new Queue(name, options);
const worker = new Worker(name, (job) => new Promise((resolve) => { end = resolve; begin(job); }), options);
await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
console.log('ready');

let job;
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  if ('add' in told) {
    const begun = new Promise((resolve) => { begin = resolve; });
    await queue.add('job', {}, told.add);
    job = await begun;
  }
  if ('log' in told) await job.log(told.log);
  if ('clear' in told) await job.clearLogs(told.clear);
  if ('end' in told) {
    const completed = new Promise((resolve) => worker.once('completed', resolve));
    end(told.end);
    await completed;
  }
  console.log('done');
}
await worker.close();
await queue.close();
