/** A client with the methods of socket.io-client that job pages use. */

import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { JobwsError } from './errors.js';
import { act, lookup, wait, watch } from './following.js';
import { Pages } from './pages.js';
import { settingsOf } from './settings.js';
import { within } from './within.js';

/** Removes the callback for the ack from the arguments, if it is the last of them, and returns it. */
const acknowledgement = (args) => (typeof args.at(-1) === 'function' ? args.pop() : () => {});

/** A client of one bridge, which reconnects by itself. `io` makes it. */
export class Jobs extends Emitter {
  /** The events of reconnecting, as on socket.io-client's manager: `jobs.io.on('reconnect', …)`. */
  io = new Emitter();
  connection; // also for the other modules of this package, which the build gives a short name
  #pages;

  constructor(url, options = {}) {
    super();
    const settings = settingsOf(url, options);
    let delay; // before the next new token is fetched, in milliseconds
    const connection = (this.connection = Connection(settings, this, (frame) => {
      const { event, data, ref, sub } = frame;
      requests.take(frame, settings.endpoint === '/logs');
      // Answers, and frames of subscriptions that have a name, do not go to the handlers of the page.
      if (ref !== undefined || (typeof sub === 'number' && event !== 'ended') || event === 'pong' || pages.tells(event, data)) return;
      if (event === 'expiring' && settings.token?.call) {
        setTimeout(() => connection.token().then((token) => this.emit('authenticate', { token }), connection.stop), delay);
        delay = 10000; // a new token may expire soon, too
      }
      this.fire(event, data, frame.id);
    }));
    const { subscriptions, requests } = connection;
    const pages = (this.#pages = Pages(this, subscriptions));
    if (options.autoConnect !== false) this.connect();
  }

  /** The transport in use: `websocket`, `sse`, `polling`, or null without a connection. */
  get transport() {
    return this.connection.transport;
  }

  get connected() {
    return !!this.transport;
  }

  get active() {
    return this.connection.active;
  }

  get disconnected() {
    return !this.connected;
  }

  connect() {
    this.connection.connect();
    return this;
  }

  open() {
    return this.connect();
  }

  disconnect() {
    this.connection.stop(new JobwsError('this client was disconnected'), 'io client disconnect');
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

  /** Send a request. Resolves with the data of the ack, or with `{error: {code, message}}`. */
  emitWithAck(event, data) {
    return (event === 'subscribe-job' || event === 'unsubscribe-job' ? this.#pages : this.connection.requests).ask(event, data);
  }

  /** Limit the time for an ack: `timeout(ms).emit(…, (error, answer) => …)`, or `.emitWithAck(…)`, which rejects. */
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
    return wait(this.connection, jobId, options);
  }

  watch(jobId, options) {
    return { [Symbol.asyncIterator]: () => watch(this.connection, jobId, options) };
  }

  lookup(jobId, options) {
    return lookup(this.connection, jobId, options);
  }

  act(action, about) {
    return act(this.connection, action, about);
  }
}
