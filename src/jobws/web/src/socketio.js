/** A bridge's client with the surface of socket.io-client that job pages use. */

import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { JobwsError } from './errors.js';
import { asId, BAD_ID, lookup, wait, watch, within } from './following.js';
import { resume } from './logs.js';
import { settingsOf } from './settings.js';
import { Sharing } from './sharing.js';
import { OUTCOMES } from './subscription.js';

// Handlers of these names want no job events. Custom job events of such names come as `custom:<name>` [E3].
const OWN = new Set(
  'connect disconnect connect_error transport hello ack error gap pong ping expiring authenticate log dropped job-log queue-stats'.split(' '),
);
const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);
const byQueue = (position, queue) => (typeof position === 'string' ? { [queue]: position } : position);
/** What is passed last may be an acknowledgement. */
const split = (args) => (typeof args.at(-1) === 'function' ? [args.at(-1), ...args.slice(0, -1)] : [() => {}, ...args]);

/** A connection to a bridge that comes back by itself; made by `io`. */
export class Jobs extends Emitter {
  connected = false;
  /** What carries the events now: `websocket`, `sse`, `polling`, or null. */
  transport = null;
  /** What socket.io-client calls the manager: `jobs.io.on('reconnect', …)`. */
  io = new Emitter();
  #connection;
  #share;
  #pages = new Map(); // what `emit` subscribed, by job
  #calls = new Map(); // ref -> unanswered request
  #standing = new Map(); // requests that each connection needs again

  constructor(url, options = {}) {
    super();
    const settings = settingsOf(url, options);
    this.#connection = Connection(settings, this, {
      frame: (frame) => this.#take(frame, settings.endpoint === '/logs'),
      calls: (all) => this.#unsent(all),
      pending: () => [...this.#calls.values()].some(({ sent }) => sent),
      stopped: ({ code = 'disconnected', message }) => {
        const answer = { error: { code, message } };
        for (const { resolve } of this.#calls.values()) resolve(answer);
        for (const page of this.#pages.values()) page.answer(answer);
        this.#calls.clear();
      },
    });
    this.#share = Sharing(this.#connection.subscriptions);
    if (options.autoConnect !== false) this.connect();
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
    // A page says by its handlers which events it wants.
    if (known || OWN.has(name)) return this;
    for (const { chosen, subscription } of this.#pages.values()) if (!chosen) this.#connection.subscriptions.renew(subscription);
    return this;
  }

  emit(event, ...args) {
    const [acknowledge, data] = split(args);
    this.emitWithAck(event, data).then(acknowledge);
    return this;
  }

  /** Ask the bridge; resolves with its ack's data, or with `{error: {code, message}}`. */
  emitWithAck(event, data) {
    if (event === 'subscribe-job' || event === 'unsubscribe-job') return this.#about(event, data);
    return new Promise((resolve) => {
      const call = { message: { event, data, ref: this.#connection.subscriptions.next() }, resolve };
      const [, un, name] = /^(un)?(subscribe-.+)$/.exec(event) ?? [];
      const key = name === 'subscribe-queue' ? data?.queue ?? data : name;
      if (un) this.#standing.delete(key);
      else if (name) this.#standing.set(key, call);
      this.#calls.set(call.message.ref, call);
      this.#connection.nudge();
    });
  }

  /** `timeout(ms).emit(…, (error, answer) => …)` and `.emitWithAck(…)`, which rejects. */
  timeout(milliseconds) {
    const late = () => new JobwsError('operation has timed out');
    const emitWithAck = (event, data) => within(this.emitWithAck(event, data), milliseconds, late);
    return {
      emitWithAck,
      emit: (event, ...args) => {
        const [acknowledge, data] = split(args);
        emitWithAck(event, data).then((answer) => acknowledge(null, answer), acknowledge);
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

  // ---- jobs that a page subscribes by hand ----

  async #about(event, data) {
    const many = Array.isArray(data) || Array.isArray(data?.jobs);
    const { jobs, ...common } = Array.isArray(data) ? { jobs: data } : many ? data : { jobs: [data] };
    const results = await Promise.all(
      jobs.map((job) => {
        const item = { ...common, ...(typeof job === 'object' && job ? job : { jobId: job }) };
        return event === 'subscribe-job' ? this.#subscribe(item) : this.#unsubscribe(item);
      }),
    );
    if (many) return { request: event, results };
    return results[0].error ? results[0] : { request: event, ...results[0] };
  }

  #subscribe({ jobId, queue, events, until, after, logs }) {
    const id = asId(jobId);
    if (id === null) return { error: { code: 'bad-job-id', message: BAD_ID } };
    const { subscriptions } = this.#connection;
    const key = keyOf(queue, id);
    const before = this.#pages.get(key);
    const page = before ?? this.#page(key, until);
    if (events) page.chosen = events;
    if (logs !== undefined) page.logs = Boolean(logs);
    if (before) subscriptions.renew(page.subscription);
    // A page may have kept positions itself.
    else page.subscription = subscriptions.join(queue, id, page, byQueue(after, queue), byQueue(logs?.after, queue));
    return new Promise((resolve) => page.asked.push(resolve));
  }

  /** The watcher of what a page subscribed. */
  #page(key, until) {
    const jobs = this;
    const asked = [];
    const page = {
      asked,
      until: until === 'end',
      stays: true,
      get events() {
        return page.chosen ?? jobs.names.filter((name) => !OWN.has(name) && new TextEncoder().encode(name).length <= 64);
      },
      answer: (result) => asked.splice(0).forEach((resolve) => resolve(result)),
      deliver({ event, data }, own) {
        if (!own) return; // a `gap` of all, which the page is told once
        if (page.until && OUTCOMES.includes(event)) jobs.#pages.delete(key);
        jobs.fire(event, data);
      },
      refuse({ code = 'unavailable', message }) {
        jobs.#pages.delete(key);
        page.answer({ error: { code, message } });
      },
    };
    this.#pages.set(key, page);
    return page;
  }

  #unsubscribe({ jobId, queue }) {
    const key = keyOf(queue, asId(jobId));
    const page = this.#pages.get(key);
    if (page) {
      this.#connection.subscriptions.leave(page.subscription);
      page.refuse({ code: 'unsubscribed', message: 'the job was left before the subscription was answered' });
    }
    return { left: page !== undefined };
  }

  // ---- all other requests, and what comes ----

  /** `all`: also those that were sent. */
  #unsent(all) {
    const calls = new Set([...this.#standing.values(), ...this.#calls.values()]);
    return [...calls].filter((call) => {
      const due = all || !call.sent;
      call.sent = true;
      return due;
    }).map(({ message }) => message);
  }

  #take(frame, logs) {
    const { event, data, ref, sub } = frame;
    const call = this.#calls.get(ref);
    this.#calls.delete(ref);
    if (ref !== undefined) call?.resolve(event === 'error' ? { error: data } : data);
    // What is said to a subscription that was left is nobody's.
    else if (typeof sub !== 'number' && event !== 'ack' && event !== 'pong' && !this.#tells(event, data)) {
      if (event === 'expiring') this.#authenticate();
      this.fire(event, data);
    }
    const asked = logs && this.#standing.get('subscribe-logs');
    if (asked && !this.#calls.has(asked.message.ref)) resume(asked, frame, call, this, this.#connection.nudge);
  }

  /** Whether what a whole queue brings comes through a subscription to the job, too: a page is told each event once. */
  #tells(event, data) {
    return [data?.queue, undefined].some((queue) => {
      const { acknowledged, chosen } = this.#pages.get(keyOf(queue, data?.jobId))?.subscription ?? {};
      return acknowledged && (chosen.includes(event) || chosen[0] === '*');
    });
  }

  #authenticate() {
    const { token, auth } = this.#connection.settings;
    if (typeof (token ?? auth) !== 'function') return;
    this.#connection.token().then((given) => this.emit('authenticate', { token: given }), this.#connection.stop);
  }
}
