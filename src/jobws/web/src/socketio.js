/** A bridge's client with the surface of socket.io-client that job pages use. */

import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { JobwsError } from './errors.js';
import { asId, BAD_ID, lookup, wait, watch } from './following.js';
import { resumed } from './logs.js';
import { settingsOf } from './settings.js';
import { keyOf, Subscriptions } from './subscriptions.js';

// Handlers of these names want no job events. Custom job events of such names come as `custom:<name>` [E3].
const OWN = new Set(
  'connect disconnect connect_error transport hello ack error gap pong ping expiring authenticate log dropped job-log queue-stats'.split(' '),
);
/** Whether `subscribe-job` or `unsubscribe-job` is about a list, and its items. */
function itemsOf(data) {
  const many = Array.isArray(data) || Array.isArray(data?.jobs);
  const { jobs = data, ...common } = many && !Array.isArray(data) ? data : {};
  const items = (many ? jobs : [data]).map((item) => ({ ...common, ...(typeof item === 'object' && item ? item : { jobId: item }) }));
  return [many, items];
}

/** A connection to a bridge that comes back by itself; made by `io`. */
export class Jobs extends Emitter {
  connected = false;
  /** What carries the events now: `websocket`, `sse`, `polling`, or null. */
  transport = null;
  /** What socket.io-client calls the manager: `jobs.io.on('reconnect', …)`. */
  io = new Emitter();
  #subscriptions = new Subscriptions(() => this.#connection.nudge());
  #connection;
  #logs;
  #pages = new Map(); // what `emit` subscribed, by job
  #standing = new Map(); // requests that each connection needs again
  #calls = new Map(); // ref -> unanswered request
  #outgoing = [];
  #everConnected = false;

  constructor(url, options = {}, loadHttp = null) {
    super();
    const settings = settingsOf(url, options, loadHttp);
    this.#logs = settings.endpoint === '/logs';
    this.#connection = new Connection(settings, {
      greeted: (...how) => this.#greeted(...how),
      frame: (frame) => this.#take(frame),
      messages: (all) => this.#messages(all),
      turn: () => this.#subscriptions.turn(),
      awaited: () => this.#subscriptions.awaited || this.#calls.size > this.#outgoing.length,
      size: () => this.#subscriptions.size,
      lost: (...how) => this.#lost(...how),
      stopped: (...how) => this.#stopped(...how),
      told: (name, value) => (name === 'connect_error' ? this : this.io).fire(name, value),
    });
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
    for (const { chosen, subscription } of this.#pages.values()) if (!chosen) this.#subscriptions.renew(subscription);
    return this;
  }

  emit(event, ...args) {
    const acknowledge = typeof args.at(-1) === 'function' ? args.pop() : undefined;
    this.#request(event, args[0]).then((answer) => acknowledge?.(answer));
    return this;
  }

  emitWithAck(event, data) {
    return this.#request(event, data);
  }

  /** `timeout(ms).emit(…, (error, answer) => …)` and `.emitWithAck(…)`, which rejects. */
  timeout(milliseconds) {
    const limited = (event, data) => {
      let timer;
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new JobwsError('operation has timed out')), milliseconds);
      });
      return Promise.race([this.#request(event, data), late]).finally(() => clearTimeout(timer));
    };
    return {
      emitWithAck: limited,
      emit: (event, ...args) => {
        const acknowledge = typeof args.at(-1) === 'function' ? args.pop() : () => {};
        limited(event, args[0]).then((answer) => acknowledge(null, answer), (error) => acknowledge(error));
        return this;
      },
    };
  }

  wait(jobId, options) {
    return wait(this.#followed, jobId, options);
  }

  watch(jobId, options) {
    return { [Symbol.asyncIterator]: () => watch(this.#followed, jobId, options) };
  }

  lookup(jobId, options) {
    return lookup(this.#followed, jobId, options);
  }

  get #followed() {
    return { subscriptions: this.#subscriptions, connection: this.#connection };
  }

  // ---- requests ----

  /** Ask the bridge; resolves with its ack's data, or with `{error: {code, message}}`. */
  #request(event, data) {
    if (event === 'subscribe-job' || event === 'unsubscribe-job') {
      const [many, items] = itemsOf(data);
      const each = items.map((item) => (event === 'subscribe-job' ? this.#subscribe(item) : this.#unsubscribe(item)));
      return Promise.all(each).then((results) => {
        if (many) return { request: event, results };
        return results[0].error ? results[0] : { request: event, ...results[0] };
      });
    }
    return new Promise((resolve) => {
      const call = { event, ref: this.#subscriptions.next(), ...(data !== undefined && { data }) };
      const standing = /^(un)?(subscribe-.+)$/.exec(event);
      if (standing) {
        const key = standing[2] === 'subscribe-queue' ? `${standing[2]} ${data?.queue ?? data}` : standing[2];
        if (standing[1]) this.#standing.delete(key);
        else this.#standing.set(key, call);
      }
      this.#calls.set(call.ref, { call, resolve });
      this.#outgoing.push(call);
      this.#connection.nudge();
    });
  }

  #subscribe({ jobId, queue, events, until, after, logs }) {
    return new Promise((resolve) => {
      const id = asId(jobId);
      if (id === null) return resolve({ error: { code: 'bad-job-id', message: BAD_ID } });
      const key = keyOf(queue, id);
      const before = this.#pages.get(key);
      const jobs = this;
      const page = before ?? {
        forever: until !== 'end',
        gaps: 'own',
        asked: [],
        get events() {
          return this.chosen ?? jobs.names.filter((name) => !OWN.has(name) && new TextEncoder().encode(name).length <= 64);
        },
        answer: (result) => page.asked.splice(0).forEach((answer) => answer(result)),
        deliver: ({ event, data }) => {
          if (!page.subscription.watchers.has(page)) this.#pages.delete(key); // it was the outcome, and is over
          this.fire(event, data);
        },
        refuse: ({ code, message }) => {
          this.#pages.delete(key);
          page.answer({ error: { code: code ?? 'unavailable', message } });
        },
      };
      if (events) page.chosen = events;
      if (logs !== undefined) page.logs = Boolean(logs);
      page.asked.push(resolve);
      if (before) return this.#subscriptions.renew(page.subscription);
      this.#pages.set(key, page);
      // A page may have kept positions itself.
      const byQueue = (position) => (position?.trim ? { [queue]: position } : position);
      page.subscription = this.#subscriptions.join(queue, id, page, { after: byQueue(after), lines: byQueue(logs?.after) });
    });
  }

  #unsubscribe({ jobId, queue }) {
    const key = keyOf(queue, asId(jobId));
    const page = this.#pages.get(key);
    this.#pages.delete(key);
    if (page) {
      this.#subscriptions.leave(page.subscription, page);
      page.answer({ error: { code: 'unsubscribed', message: 'the job was left before the subscription was answered' } });
    }
    return { left: page !== undefined };
  }

  // ---- what the connection says ----

  #greeted(hello, transport, again, tries) {
    if (again) this.#subscriptions.disconnected();
    Object.assign(this, { connected: true, transport });
    this.#subscriptions.connected(hello);
    this.#outgoing = this.#unanswered();
    if (!again) {
      if (this.#everConnected) this.io.fire('reconnect', tries + 1);
      this.#everConnected = true;
      this.fire('connect');
    }
    this.fire('transport', transport);
  }

  /** What to send. `all`: as if nothing had been asked for. */
  #messages(all) {
    const subscriptions = this.#subscriptions;
    if (all) {
      const { hello } = subscriptions;
      subscriptions.disconnected();
      subscriptions.connected(hello);
      this.#outgoing = this.#unanswered();
    }
    const messages = [...subscriptions.requests(), ...this.#outgoing];
    this.#outgoing = [];
    return messages;
  }

  #unanswered() {
    const calls = [...this.#calls.values()].map(({ call }) => call);
    return [...[...this.#standing.values()].filter((call) => !calls.includes(call)), ...calls];
  }

  #take(frame) {
    const { event, data, ref, sub } = frame;
    const call = this.#calls.get(ref);
    if (event === 'ack') this.#connection.answered();
    this.#subscriptions.receive(frame);
    if (ref !== undefined) {
      this.#calls.delete(ref);
      call?.resolve(event === 'error' ? { error: data } : data);
    } else if (typeof sub !== 'number' && event !== 'ack' && event !== 'pong' && !this.#tells(event, data)) {
      if (event === 'expiring') this.#authenticate();
      this.fire(event, data);
    }
    const asked = this.#logs && this.#standing.get('subscribe-logs');
    if (!asked || this.#calls.has(asked.ref)) return; // what comes until its answer is another one's
    const next = resumed(asked, frame, call, {
      fire: (...args) => this.fire(...args),
      retry: (late) => late === this.#standing.get('subscribe-logs') && this.#outgoing.push(late) && this.#connection.nudge(),
    });
    if (next) this.#standing.set('subscribe-logs', next);
  }

  /** Whether what a whole queue brings comes through a subscription to the job, too: a page is told each event once. */
  #tells(event, data) {
    const pages = [data?.queue, undefined].map((queue) => this.#pages.get(keyOf(queue, data?.jobId)));
    return pages.some((page) => page?.subscription.acknowledged && [...page.subscription.chosen, '*'].includes(event));
  }

  #authenticate() {
    if (typeof (this.#connection.settings.token ?? this.#connection.settings.auth) !== 'function') return;
    this.#connection.token().then((token) => this.emit('authenticate', { token }), (error) => this.#connection.stop(error));
  }

  #lost(was, reason) {
    Object.assign(this, { connected: false, transport: null });
    this.#outgoing = [];
    this.#subscriptions.disconnected();
    if (was) this.fire('disconnect', reason);
  }

  #stopped(error, reason) {
    this.#subscriptions.fail(error);
    const answer = { error: { code: error.code ?? 'disconnected', message: error.message } };
    for (const { resolve } of this.#calls.values()) resolve(answer);
    for (const page of this.#pages.values()) page.answer(answer);
    this.#calls.clear();
    if (reason !== 'io client disconnect') this.fire('connect_error', error);
  }
}
