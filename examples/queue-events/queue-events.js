// A stand-in for BullMQ's QueueEvents, which gets events from a bridge, not from Redis. Node before 22 has no WebSocket: pass
// that of the package `ws` as the option `WebSocket`.
//   npm install
//   import { QueueEvents } from './queue-events.js';      // was: from 'bullmq'
//   const events = new QueueEvents('http', { url: 'http://127.0.0.1:8787' });
//   events.on('drained', (id) => console.log('nothing left to do', id));
//   console.log(await job.waitUntilFinished(events, 60_000));
// Events that come right after `waitUntilReady`, or while the connection was lost, are not missed. If the queue's stream was
// trimmed meanwhile, so that some are missing, there is an event `gap`. A custom event that is called `ping`, for instance,
// comes as `custom:ping` (protocol.md, E3).
import { EventEmitter } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { io } from 'jobws';

export class QueueEvents extends EventEmitter {
  #queue;
  #jobs;
  #position; // everything up to here has come
  #ready;
  #refuse;

  /**
   * `queue` is the label that the bridge has for it. With `lastEventId` it begins after that event, as with BullMQ. The other
   * options are those of `io`.
   */
  constructor(queue, { url, lastEventId, ...options }) {
    super();
    this.#queue = queue;
    this.#position = lastEventId;
    this.#jobs = io(url, { ...options, transports: ['websocket'] }); // over HTTP each poll would begin at the same position
    this.#ready = new Promise((resolve, reject) => {
      this.#refuse = reject;
      // This takes the place of the subscription that the client would send again, which begins where the last one began.
      this.#jobs.on('connect', () => this.#subscribe().then(resolve, (error) => this.#fail(error)));
    });
    this.#ready.catch(() => {}); // who calls `waitUntilReady` learns of it
    this.#jobs.on('connect_error', (error) => this.#fail(error, this.#jobs.active));
    const heard = new Set(['connect', 'connect_error']);
    this.on('newListener', (name) => {
      // `completed:42` is made of `completed`.
      for (const event of [name, name.split(':')[0]]) {
        if (!heard.has(event)) this.#jobs.on(event, (data, id) => this.#tell(event, data, id));
        heard.add(event);
      }
    });
  }

  async #subscribe() {
    const asked = { queue: this.#queue, events: ['*'], after: this.#position };
    const { error, after } = await this.#jobs.emitWithAck('subscribe-queue', asked);
    if (error?.code === 'unavailable') return pause(1000).then(() => this.#subscribe()); // Redis does not answer now
    if (error) throw Object.assign(new Error(error.message), { code: error.code });
    this.#position ??= after[this.#queue];
  }

  #fail(error, returns) {
    if (!returns) this.#refuse(error);
    if (this.listenerCount('error')) this.emit('error', error);
  }

  #tell(event, data, id) {
    if (data?.queue !== this.#queue) return; // the client's own event of that name
    const { queue, ...args } = data;
    this.#position = id ?? this.#position;
    if (event === 'drained') this.emit(event, id);
    else this.emit(event, args, id);
    if (args.jobId) this.emit(`${event}:${args.jobId}`, args, id);
  }

  /** Resolves when no later event will be missed. */
  waitUntilReady() {
    return this.#ready;
  }

  async close() {
    this.#refuse(new Error('closed'));
    this.#jobs.disconnect();
  }
}
