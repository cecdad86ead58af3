// What BullMQ's own QueueEvents delivers, one JSON line per event: node recorder.mjs PORT PASSWORD PREFIX QUEUE
// It reads from the stream's beginning, since QueueEvents misses what is written before its first read.
import { createInterface } from 'node:readline';
import { QueueEvents } from 'bullmq';

const [port, password, prefix, name] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(port), password };
const events = new QueueEvents(name, { connection, prefix, lastEventId: '0-0' });

const names = [
  'added', 'waiting', 'active', 'progress', 'completed', 'failed', 'delayed', 'stalled', 'retries-exhausted',
  'removed', 'waiting-children', 'duplicated', 'deduplicated',
];
for (const event of names) {
  events.on(event, (data, id) => console.log(JSON.stringify({ event, id, data })));
}
await events.waitUntilReady();
console.log('ready');
for await (const _ of createInterface({ input: process.stdin }));
await events.close();
