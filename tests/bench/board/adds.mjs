// Adds jobs to the queue `http`, one after the other: `REDIS_PORT=6379 node adds.mjs COUNT MILLISECONDS`, with pauses of 0.5 to
// 1.5 times MILLISECONDS, so that they come at any moment between two polls. Prints the time just before each `queue.add` as
// JSON, by the name of the job, in milliseconds since 1970. No other process gives a job such a name.
import { setTimeout as pause } from 'node:timers/promises';
import { Queue } from 'bullmq';

const [count, milliseconds] = process.argv.slice(2).map(Number);
const queue = new Queue('http', { connection: { host: '127.0.0.1', port: Number(process.env.REDIS_PORT) } });
await queue.waitUntilReady();
const added = {};
for (let number = 0; number < count; number++) {
  await pause(milliseconds * (0.5 + Math.random()));
  const name = `add_${process.pid}_${number}_`;
  added[name] = Date.now();
  await queue.add(name, { number });
}
await queue.close();
console.log(JSON.stringify(added));
