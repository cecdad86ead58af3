/** A bridge's client with the surface of socket.io-client that job pages use. */

import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { JobwsError } from './errors.js';
import { lookup, wait, watch } from './following.js';
import { Pages } from './pages.js';
import { settingsOf } from './settings.js';
import { Sharing } from './sharing.js';
import { within } from './within.js';

/** What is passed last may be an acknowledgement, which is taken away. */
const acknowledgement = (args) => (typeof args.at(-1) === 'function' ? args.pop() : () => {});

/** A connection to a bridge that comes back by itself; made by `io`. */
export class Jobs extends Emitter {
  /** What socket.io-client calls the manager: `jobs.io.on('reconnect', …)`. */
  io = new Emitter();
  #connection;
  #share;
  #pages;
  #requests;

  constructor(url, options = {}) {
    super();
    const settings = settingsOf(url, options);
    const connection = (this.#connection = Connection(settings, this, {
      frame: (frame) => {
        const { event, data, ref, sub } = frame;
        requests.take(frame, settings.endpoint === '/logs');
        // What is said to a subscription that was left is nobody's.
        if (ref !== undefined || typeof sub === 'number' || event === 'ack' || event === 'pong' || pages.tells(event, data)) return;
        if (event === 'expiring' && typeof settings.token === 'function')
          connection.token().then((given) => this.emit('authenticate', { token: given }), connection.stop);
        this.fire(event, data);
      },
      stopped({ code = 'disconnected', message }) {
        for (const each of [requests, pages]) each.refuse({ error: { code, message } });
      },
    }));
    const { subscriptions, requests } = connection;
    this.#requests = requests;
    const pages = (this.#pages = Pages(this, subscriptions));
    this.#share = Sharing(subscriptions);
    if (options.autoConnect !== false) this.connect();
  }

  /** What carries the events now: `websocket`, `sse`, `polling`, or null. */
  get transport() {
    return this.#connection.transport;
  }

  get connected() {
    return !!this.transport;
  }

  get active() {
    return this.#connection.active;
  }

  get disconnected() {
    return !this.connected;
  }

  connect() {
    this.#connection.connect();
    return this;
  }

  open() {
    return this.connect();
  }

  disconnect() {
    this.#connection.stop(new JobwsError('this client was disconnected'), 'io client disconnect');
    return this;
  }

  close() {
    return this.disconnect();
  }

  on(name, handler) {
    const known = this.names.includes(name);
    super.on(name, handler);
    if (!known) this.#pages.handles(name);
    return this;
  }

  emit(event, ...args) {
    const acknowledge = acknowledgement(args);
    this.emitWithAck(event, args[0]).then(acknowledge);
    return this;
  }

  /** Ask the bridge; resolves with its ack's data, or with `{error: {code, message}}`. */
  emitWithAck(event, data) {
    return (event === 'subscribe-job' || event === 'unsubscribe-job' ? this.#pages : this.#requests).ask(event, data);
  }

  /** `timeout(ms).emit(…, (error, answer) => …)` and `.emitWithAck(…)`, which rejects. */
  timeout(milliseconds) {
    const emitWithAck = (event, data) =>
      within(this.emitWithAck(event, data), milliseconds, new JobwsError('operation has timed out'));
    return {
      emitWithAck,
      emit: (event, ...args) => {
        const acknowledge = acknowledgement(args);
        emitWithAck(event, args[0]).then((answer) => acknowledge(null, answer), acknowledge);
        return this;
      },
    };
  }

  wait(jobId, options) {
    return wait(this.#share, this.#connection, jobId, options);
  }

  watch(jobId, options) {
    return { [Symbol.asyncIterator]: () => watch(this.#share, this.#connection, jobId, options) };
  }

  lookup(jobId, options) {
    return lookup(this.#connection, jobId, options);
  }
}
