// Ends a queue's jobs without an event for them: node ends.mjs PORT PASSWORD QUEUE
// A line of standard input is `drain`, `obliterate`, `clean`, or the id of a job to add; each is answered with "done".
import { createInterface } from 'node:readline';
import { Queue } from 'bullmq';

const [port, password, name] = process.argv.slice(2);
const queue = new Queue(name, { connection: { host: '127.0.0.1', port: Number(port), password } });
const ends = {
  drain: () => queue.drain(),
  obliterate: () => queue.pause().then(() => queue.obliterate()),
  clean: () => queue.clean(0, 100, 'wait'),
};
await queue.waitUntilReady();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  await (ends[line]?.() ?? queue.add('chaos', {}, { jobId: line }));
  console.log('done');
}
await queue.close();
