/** A connection to a bridge that is made again whenever it is lost. Times are in milliseconds. */

import { JobwsError } from './errors.js';

// Those who wait for a place among the bridge's subscriptions get one after so long.
const TURN = 5000;

/** Whether a client whose connection ended with `code` should come back [X1]. */
const mayReturn = (code) => [1001, 1005, 1006, 1011, 1012, 1013].includes(code) || (code >= 4000 && code < 4500);

/** A link has `nudge` (there is something to ask for), `begin` (it was greeted), `check` (is the bridge alive?), `close`. */
class WebSocketLink {
  kind = 'websocket';
  #beat;
  #silence = null;
  #due = false;
  #turn = false;
  #to;

  /** `to.frame` takes what comes, `to.end` at last a close code and why; `to.messages` gives what to send. */
  constructor({ WebSocket, url, token, pingInterval, pongTimeout }, to) {
    Object.assign(this, { pingInterval, pongTimeout });
    this.#to = to;
    this.socket = new WebSocket(url.replace(/^http/, 'ws'), token ? ['jobws.v1', `bearer.${token}`] : ['jobws.v1']);
    this.socket.onmessage = ({ data }) => {
      clearTimeout(this.#silence); // whatever comes shows that it is alive
      this.#silence = null;
      to.frame(data);
    };
    this.socket.onerror = () => {}; // `close` follows
    this.socket.onclose = ({ code, reason }) => to.end(code, String(reason ?? ''));
  }

  begin() {
    this.#beat = setInterval(() => this.check(), this.pingInterval);
  }

  /** A half-open connection stands for ever; and a `pong` keeps positions young [P4]. */
  check() {
    this.#send({ event: 'ping' });
    this.#silence ??= setTimeout(() => this.#to.end(1006, 'ping timeout'), this.pongTimeout);
  }

  /** What one turn of the program asks for goes out together. */
  nudge(turn) {
    this.#turn ||= turn;
    if (!this.#due) queueMicrotask(() => this.#flush());
    this.#due = true;
  }

  #flush() {
    const turn = this.#turn;
    this.#due = this.#turn = false;
    if (this.socket.onclose) for (const message of this.#to.messages({ turn })) this.#send(message);
  }

  #send(message) {
    this.socket.send(JSON.stringify(message));
  }

  close() {
    clearInterval(this.#beat);
    clearTimeout(this.#silence);
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close(1000);
  }
}

export class Connection {
  active = false; // it is there, or is tried
  failure = null; // why there will be none
  #link = null;
  #greeted = false;
  #timers = {};
  #tries = 0; // connections without `hello` since the last one with
  #losses = 0; // since the last answer
  #http = false; // it is tried next, immediately
  #buffered = false; // the network holds streams back
  #upgrade; // how long to stay with HTTP before WebSocket is tried again
  #online = []; // what no longer listens for a network that is back

  /**
   * `options` as in `io`, beside them `base` (the URL of the bridge), `endpoint`, and `loadHttp`, which promises the
   * fallback; null: there is none. `to` is called: `greeted`, `frame`, `messages`, `awaited`, `size`, `lost`, `stopped`,
   * `told` (an event of its own).
   */
  constructor(options, to) {
    Object.assign(this, { options, to });
    this.#upgrade = options.upgradeDelay;
  }

  connect() {
    if (this.active) return;
    Object.assign(this, { active: true, failure: null });
    this.#tries = 0;
    this.#listen();
    this.#after('connect', 0, () => this.#open());
  }

  /** There is something to ask for. */
  nudge() {
    if (this.#greeted) this.#link.nudge();
  }

  /** An answer came: the bridge works, and the next attempt comes soon. */
  answered() {
    this.#losses = 0;
  }

  async token() {
    const { auth, token = auth } = this.options;
    try {
      const given = typeof token !== 'function' ? token : token.length ? await new Promise((resolve) => token(resolve)) : await token();
      return given?.token ?? (typeof given === 'string' ? given : undefined);
    } catch (error) {
      throw new JobwsError(`the function that gets the token failed: ${error}`);
    }
  }

  async #open() {
    try {
      const token = await this.token();
      const http = this.options.loadHttp && (this.#http || !this.options.WebSocket || this.#tries % 3 === 2);
      this.#http = false;
      const Link = http ? await this.options.loadHttp().catch(() => null) : WebSocketLink;
      if (!this.active || this.#link) return;
      const link = (this.#link = this.#dial(Link ?? WebSocketLink, token, (hello) => this.#begin(link, hello)));
      this.#after('hello', this.options.timeout, () => this.#ended(link, 1006, 'timeout'));
    } catch (error) {
      this.stop(error);
    }
  }

  #dial(Link, token, greet) {
    let greeted = false;
    const { base, endpoint } = this.options;
    const settings = { ...this.options, url: base + endpoint, http: `${base}/events`, token, polls: this.#buffered };
    const link = new Link(settings, {
      ...this.to,
      frame: (text) => {
        let frame;
        try {
          frame = JSON.parse(text);
        } catch {} // below
        if (greeted ? !frame?.event : frame?.event !== 'hello') return this.#ended(link, 1006, 'what answers does not speak jobws.v1');
        if (frame.event !== 'hello') return link === this.#link && this.to.frame(frame);
        if (!greeted) greet(frame.data);
        greeted = true;
      },
      end: (code, reason) => this.#ended(link, code, reason),
    });
    return link;
  }

  #begin(link, hello) {
    this.#forget();
    const { options, to } = this;
    const [again, tries] = [this.#greeted, this.#tries];
    if (this.#link !== link) this.#link?.close();
    this.#link = link;
    this.#greeted = true;
    this.#tries = 0;
    this.#timers.turn = setInterval(() => link.nudge(true), TURN);
    link.begin();
    if (link.kind === 'websocket') {
      this.#upgrade = options.upgradeDelay;
      this.#buffered = false; // what held streams back is no longer in the way
    } else if (options.WebSocket) this.#after('upgrade', this.#upgrade, () => this.#tryToUpgrade());
    to.greeted(hello, link.kind, again, tries);
    link.nudge();
  }

  async #tryToUpgrade() {
    const { upgradeDelayMax, timeout } = this.options;
    this.#upgrade = Math.min(2 * this.#upgrade, upgradeDelayMax);
    this.#after('upgrade', this.#upgrade, () => this.#tryToUpgrade());
    const link = this.#dial(WebSocketLink, await this.token().catch(() => undefined), (hello) => {
      if (this.#greeted && this.#link.kind !== 'websocket') this.#begin(link, hello);
    });
    setTimeout(() => link !== this.#link && link.close(), timeout);
  }

  #ended(link, code, reason) {
    if (link !== this.#link || !link) return;
    const { reconnection, reconnectionAttempts, reconnectionDelay, reconnectionDelayMax, loadHttp } = this.options;
    const was = this.#lose(reason === 'ping timeout' ? reason : code === 1006 ? 'transport close' : `${code} ${reason}`);
    if (!mayReturn(code)) return this.stop(new JobwsError(`the bridge refuses this client: ${code} ${reason}`, code));
    if (!was) {
      this.#tries++;
      if (reason === 'buffered') this.#buffered = true;
      this.#http = loadHttp && (reason === 'buffered' || (reason === 'timeout' && link.kind === 'websocket'));
      if (this.#tries >= 3) this.to.told('connect_error', new JobwsError(this.#unreachable(reason)));
    }
    if (reconnection === false || this.#tries > (reconnectionAttempts ?? Infinity)) {
      this.stop(new JobwsError(this.#unreachable(reason)));
      return this.to.told('reconnect_failed');
    }
    // Those that lost the same bridge do not come back together: a wait is random up to what doubles.
    const most = Math.min(reconnectionDelay * 2 ** this.#losses++, reconnectionDelayMax);
    this.#after('connect', this.#http ? 0 : Math.random() * most, () => {
      this.to.told('reconnect_attempt', this.#tries + 1);
      this.#open();
    });
  }

  /** The connection is over; returns whether there had been one. */
  #lose(reason) {
    const was = this.#greeted;
    this.#forget();
    this.#link?.close();
    this.#link = null;
    this.#greeted = false;
    this.to.lost(was, reason);
    return was;
  }

  /** End for good, or until `connect` is called. */
  stop(error, reason = error.message) {
    if (!this.active) return;
    Object.assign(this, { active: false, failure: error });
    this.#lose(reason);
    for (const stop of this.#online.splice(0)) stop();
    this.to.stopped(error, reason);
  }

  #unreachable(reason) {
    const origin = globalThis.location?.origin;
    const check = origin ? `, and does it allow this page's origin (jobws serve --allow-origin ${origin})` : '';
    return `no jobws bridge at ${this.options.base}: is it running there, is that its URL${check}? (${reason || 'refused'})`;
  }

  /** A network that comes back, and a page that is looked at again, are reasons to see whether the bridge is there. */
  #listen() {
    const check = () => {
      if (this.#greeted) this.#link.check();
      else if (this.#timers.connect) this.#after('connect', 0, () => this.#open());
    };
    const shown = () => globalThis.document.visibilityState === 'visible' && check();
    for (const [target, name, handler] of [[globalThis, 'online', check], [globalThis.document, 'visibilitychange', shown]]) {
      target?.addEventListener?.(name, handler);
      this.#online.push(() => target?.removeEventListener?.(name, handler));
    }
  }

  #after(name, milliseconds, task) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(() => {
      delete this.#timers[name];
      task();
    }, milliseconds);
  }

  #forget() {
    for (const name in this.#timers) clearTimeout(this.#timers[name]); // the turns' interval, too
    this.#timers = {};
  }
}
