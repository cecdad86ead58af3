// What BullMQ's own tests say about QueueEvents, of `bullmq` itself or of the stand-in beside this file:
//   node queue-events.mjs bullmq|jobws PORT PASSWORD URL
// Every test has a queue of its own, q0 and so on, which the bridge at URL serves.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { QueueEvents as Original, Queue, QueueEventsProducer, Worker } from 'bullmq';
import { WebSocket, WebSocketServer } from 'ws';
import { QueueEvents as StandIn } from './queue-events.js';

const [which, port, password, url] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(port), password };
const opened = [];
const sockets = [];
class Socket extends WebSocket {
  constructor(...args) {
    super(...args);
    sockets.push(this);
  }
}
let queues = 0;

/** Keep it, to close it at the end. */
function open(made) {
  opened.unshift(made);
  return made;
}
after(() => Promise.all(opened.map((each) => each.close())));

/** Begins with the queue's first event: BullMQ's own would miss events after it says that it is ready. */
const listen = (name) =>
  open(
    which === 'bullmq'
      ? new Original(name, { connection, lastEventId: '0-0' })
      : new StandIn(name, { url, WebSocket: Socket, lastEventId: '0-0' }),
  );

async function begin() {
  const name = `q${queues++}`;
  const events = listen(name);
  await events.waitUntilReady();
  const work = (processor, options) => open(new Worker(name, processor, { connection, ...options }));
  return {
    name,
    events,
    queue: open(new Queue(name, { connection })),
    producer: open(new QueueEventsProducer(name, { connection })),
    work,
  };
}

const jobs = (count) => Array.from({ length: count }, (_, number) => ({ name: 'test', data: { number } }));
/** A promise, and what resolves it. */
function latch() {
  let release;
  return { opened: new Promise((resolve) => (release = resolve)), release };
}

test('drained comes when all jobs have been processed, with its id alone', async () => {
  const { events, queue, work } = await begin();
  const drained = once(events, 'drained');
  await queue.addBulk(jobs(2));
  work(async () => {});
  const args = await drained;
  assert.equal(args.length, 1);
  assert.match(args[0], /^\d+-\d+$/);
  assert.equal(await queue.getJobCountByTypes('completed'), 2);
});

test('drained comes when the last of the jobs that run side by side has ended', async () => {
  const { events, queue, work } = await begin();
  const all = latch();
  let running = 0;
  work(() => (++running === 4 && all.release(), all.opened), { concurrency: 4 });
  const drained = once(events, 'drained');
  await queue.addBulk(jobs(4));
  await drained;
  assert.equal(await queue.getJobCountByTypes('completed'), 4);
});

test('drained comes once each time that the queue becomes empty', async () => {
  const { events, queue, producer, work } = await begin();
  let count = 0;
  events.on('drained', () => count++);
  const worker = work(async () => {}, { drainDelay: 1 });
  for (let round = 0; round < 2; round++) {
    const drained = once(events, 'drained');
    await queue.addBulk(jobs(2));
    await drained;
  }
  await worker.close();
  const last = once(events, 'last');
  await producer.publishEvent({ eventName: 'last' });
  await last;
  assert.equal(count, 2);
  assert.equal(await queue.getJobCountByTypes('completed'), 4);
});

test('a running queue is paused and resumed, and both events have nothing but an id', async () => {
  const { events, queue, work } = await begin();
  const told = [];
  events.on('paused', (...args) => (told.push(['paused', ...args]), queue.resume()));
  events.on('resumed', (...args) => told.push(['resumed', ...args]));
  const resumed = once(events, 'resumed');
  const second = once(events, 'completed:second');
  work((job) => job.id === 'first' && queue.pause());
  await queue.add('test', {}, { jobId: 'first' });
  await queue.add('test', {}, { jobId: 'second' });
  await resumed;
  await second;
  assert.deepEqual(told.map(([event, args, id]) => [event, args, typeof id]), [
    ['paused', {}, 'string'],
    ['resumed', {}, 'string'],
  ]);
});

test('a job that is to be repeated waits while its queue is paused', async () => {
  const { events, queue, work } = await begin();
  const again = new Promise((resolve) => events.on('waiting', (args) => args.prev && resolve(args)));
  const resumed = once(events, 'resumed');
  work(async ({ attemptsMade }) => {
    if (attemptsMade) return;
    await queue.pause();
    throw new Error('not yet');
  });
  const job = await queue.add('test', {}, { attempts: 2, backoff: 0 });
  assert.deepEqual(await again, { jobId: job.id, prev: 'active' });
  assert.equal(await queue.getJobCountByTypes('wait'), 1);
  await queue.resume();
  await resumed;
  await job.waitUntilFinished(events);
});

test('cleaned says how many, as text', async () => {
  const { events, queue, work } = await begin();
  await queue.addBulk(jobs(50));
  const drained = once(events, 'drained');
  work(async () => {});
  await drained;
  const cleaned = once(events, 'cleaned');
  assert.equal((await queue.clean(0, 0, 'completed')).length, 50);
  const [args, id] = await cleaned;
  assert.deepEqual(args, { count: '50' });
  assert.equal(typeof id, 'string');
  assert.equal(await queue.getJobCountByTypes('completed'), 0);
});

test('a custom event without a job arrives, also one from before', async () => {
  const { name, events, producer } = await begin();
  const live = once(events, 'example');
  await producer.publishEvent({ eventName: 'example', custom: 'value' });
  for (const told of [live, once(listen(name), 'example')]) {
    const [args, id] = await told;
    assert.deepEqual(args, { custom: 'value' });
    assert.equal(typeof id, 'string');
  }
});

test('a custom event with a job comes for the job, too', async () => {
  const { events, producer } = await begin();
  const told = [once(events, 'example'), once(events, 'example:7')];
  await producer.publishEvent({ eventName: 'example', jobId: '7', custom: 'value' });
  for (const each of told) assert.deepEqual((await each)[0], { custom: 'value', jobId: '7' });
});

test('a job is told from added to completed', async () => {
  const { events, queue, work } = await begin();
  const told = [];
  for (const event of ['added', 'waiting', 'active', 'progress', 'completed'])
    events.on(event, (args) => told.push([event, args]));
  const completed = once(events, 'completed');
  work(async (job) => {
    await job.updateProgress({ step: 1 });
    return { result: 42 };
  });
  await queue.add('named', {});
  await completed;
  assert.deepEqual(told, [
    ['added', { jobId: '1', name: 'named' }],
    ['waiting', { jobId: '1' }],
    ['active', { jobId: '1', prev: 'waiting' }],
    ['progress', { jobId: '1', data: { step: 1 } }],
    ['completed', { jobId: '1', returnvalue: { result: 42 }, prev: 'active' }],
  ]);
});

test('what is off, or closed, hears nothing more', async () => {
  const { name, events, producer } = await begin();
  const closed = listen(name);
  await closed.waitUntilReady();
  const heard = [];
  const hear = () => heard.push('off');
  events.on('example', hear).off('example', hear);
  closed.on('example', () => heard.push('closed'));
  await closed.close();
  const second = once(events, 'last');
  await producer.publishEvent({ eventName: 'example' });
  await producer.publishEvent({ eventName: 'last' });
  await second;
  assert.deepEqual(heard, []);
});

for (const result of ['a string', { resultFoo: 'bar' }, null])
  test(`waitUntilFinished resolves with ${JSON.stringify(result)}`, async () => {
    const { events, queue, work } = await begin();
    const gate = latch();
    work(async () => (await gate.opened, result));
    const job = await queue.add('test', {});
    const finished = job.waitUntilFinished(events);
    gate.release();
    assert.deepEqual(await finished, result);
    assert.deepEqual(await job.waitUntilFinished(events), result); // of a job that has ended
    assert.equal(events.listenerCount(`completed:${job.id}`), 0);
  });

test('waitUntilFinished resolves for a job with a delay', async () => {
  const { events, queue, work } = await begin();
  work(async () => 'later');
  const job = await queue.add('test', {}, { delay: 100 });
  assert.equal(await job.waitUntilFinished(events), 'later');
});

test('waitUntilFinished has the result of a job that is removed when it completes', async () => {
  const { events, queue, work } = await begin();
  const gate = latch();
  work(async () => (await gate.opened, 'gone'));
  const job = await queue.add('test', {}, { removeOnComplete: true });
  const finished = job.waitUntilFinished(events);
  await new Promise(setImmediate); // now it has asked whether the job has ended
  await queue.getJobState(job.id); // and has the answer
  gate.release();
  assert.equal(await finished, 'gone');
  await assert.rejects(job.waitUntilFinished(events), /Missing key for job/);
});

test('waitUntilFinished rejects with the reason', async () => {
  const { events, queue, work } = await begin();
  const gate = latch();
  work(async () => {
    await gate.opened;
    throw new Error('test error');
  });
  const job = await queue.add('test', {});
  const finished = job.waitUntilFinished(events);
  gate.release();
  await assert.rejects(finished, { message: 'test error' });
  await assert.rejects(job.waitUntilFinished(events), { message: 'test error' });
  assert.equal(events.listenerCount(`failed:${job.id}`), 0);
});

test('waitUntilFinished rejects after its time', async () => {
  const { events, queue } = await begin();
  const job = await queue.add('test', {});
  await assert.rejects(job.waitUntilFinished(events, 10), /no finish notification arrived after 10ms/);
});

// BullMQ's own may miss them.
const skip = which === 'bullmq';
test('no event is missed or comes twice when the connection is lost', { skip }, async () => {
  const { name, events, producer } = await begin();
  const heard = { events: [], late: [] };
  const publish = (number) => producer.publishEvent({ eventName: 'example', number: String(number) });
  events.on('example', ({ number }) => heard.events.push(number));
  const first = once(events, 'example');
  await publish(0);
  await first;
  const late = open(new StandIn(name, { url, WebSocket: Socket })); // begins now, and has heard nothing yet
  late.on('example', ({ number }) => heard.late.push(number));
  await late.waitUntilReady();
  for (const socket of sockets.slice(-2)) socket.terminate();
  await publish(1);
  await publish(2);
  const last = [events, late].map((each) => once(each, 'last'));
  await producer.publishEvent({ eventName: 'last' });
  await Promise.all(last);
  assert.deepEqual(heard, { events: ['0', '1', '2'], late: ['1', '2'] });
});

test('a subscription that Redis does not answer is sent again', { skip }, async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'jobws.v1' });
  await once(server, 'listening');
  const answers = [
    { event: 'error', data: { code: 'unavailable', message: 'Redis does not answer' } },
    { event: 'ack', data: { request: 'subscribe-queue', after: { http: '1-0' } } },
  ];
  server.on('connection', (socket) => {
    socket.send(JSON.stringify({ event: 'hello', data: { limits: {} } }));
    socket.on('message', (text) => socket.send(JSON.stringify({ ...answers.shift(), ref: JSON.parse(text).ref })));
  });
  const events = new StandIn('http', { url: `http://127.0.0.1:${server.address().port}`, WebSocket });
  await events.waitUntilReady();
  assert.deepEqual(answers, []);
  await events.close();
  server.close();
});
