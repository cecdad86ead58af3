// What BullMQ's own QueueEvents delivers, one JSON line per event: node recorder.mjs PORT PASSWORD PREFIX QUEUE
// It reads from the stream's beginning, since QueueEvents misses what is written before its first read.
import { createInterface } from 'node:readline';
import { QueueEvents } from 'bullmq';

const [port, password, prefix, name] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(port), password };
const events = new QueueEvents(name, { connection, prefix, lastEventId: '0-0' });

// All names, also those of custom events. `drained` has no data, and an event of a job is emitted a second time, under
// another name, which these end with.
const emit = events.emit.bind(events);
events.emit = (event, ...args) => {
  const [data, id] = event === 'drained' ? [{}, args[0]] : args;
  if (typeof id === 'string' && !(data.jobId && event.endsWith(`:${data.jobId}`))) {
    console.log(JSON.stringify({ event, id, data }));
  }
  return emit(event, ...args);
};
await events.waitUntilReady();
console.log('ready');
for await (const _ of createInterface({ input: process.stdin }));
await events.close();
