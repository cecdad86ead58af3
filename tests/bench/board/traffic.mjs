// A queue `http` of ROWS jobs, and EVENTS events a second: `REDIS_PORT=6379 node traffic.mjs ROWS EVENTS`. It adds the jobs when
// it has read a line, prints "ready", and goes on until it is ended. For each new job the oldest one is removed, so the number of
// jobs stays. The first jobs are delayed, so a worker that has time left does not take them.
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';

const EVENTS_OF_A_JOB = 6; // added, waiting, active, progress, completed, removed
const TURN_MILLISECONDS = 50;
const DELAY_MILLISECONDS = 3_600_000;
const [rows, events] = process.argv.slice(2).map(Number);
const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT) };
const queue = new Queue('http', { connection });
const ids = []; // the oldest first

async function add(count, opts) {
  const jobs = Array.from({ length: count }, () => ({ name: 'fetch', data: { url: '/' }, opts }));
  ids.push(...(await queue.addBulk(jobs)).map(({ id }) => id));
}

await queue.waitUntilReady();
for await (const _ of createInterface(process.stdin)) break;
while (ids.length < rows) await add(Math.min(250, rows - ids.length), { delay: DELAY_MILLISECONDS });
new Worker(
  'http',
  async (job) => {
    await job.updateProgress(50);
    await pause(200);
    return { status: 200 };
  },
  { connection, concurrency: 50 },
);
console.log('ready');
const began = performance.now();
for (let done = 0; ; await pause(TURN_MILLISECONDS)) {
  const due = Math.floor(((performance.now() - began) / 1000) * (events / EVENTS_OF_A_JOB)) - done;
  done += due;
  if (due) await Promise.all([add(due), ...ids.splice(0, due).map((id) => queue.remove(id))]);
}
