/** A connection to a bridge that is made again whenever it is lost. Times are in milliseconds. */

import { JobwsError } from './errors.js';
import { WebSocketLink } from './websocket.js';

// Watches for which the bridge has no place get one after so long.
const TURN = 5000;

/** Whether a client whose connection ended with `code` should come back [X1]. */
const mayReturn = (code) => [1001, 1005, 1006, 1011, 1012, 1013].includes(code) || (code >= 4000 && code < 4500);

export class Connection {
  active = false; // it is there, or is tried
  failure = null; // why there will be none
  #link = null;
  #timer; // of the next attempt, or of the next turn
  #tries = 0; // links without `hello` since the last one with
  #losses = 0; // since the last answer
  #http = false; // it is tried next, immediately
  #deaf = []; // what ends listening to the page

  /**
   * `settings` are those of `settings.js`. `to` is called: `greeted`, `frame`, `lost`, `stopped`, `told` (an event of its
   * own), and by links `messages`, `awaited`, `size`, `turn`.
   */
  constructor(settings, to) {
    Object.assign(this, { settings, to });
  }

  connect() {
    if (this.active) return;
    Object.assign(this, { active: true, failure: null });
    this.#tries = 0;
    this.#listen();
    this.#open();
  }

  /** There is something to ask for. */
  nudge() {
    if (this.#link?.greeted) this.#link.nudge();
  }

  /** The bridge works: back-off begins again. */
  answered() {
    this.#losses = 0;
  }

  async token() {
    const { auth, token = auth } = this.settings;
    try {
      const given = typeof token !== 'function' ? token : token.length ? await new Promise((resolve) => token(resolve)) : await token();
      return given?.token ?? (typeof given === 'string' ? given : undefined);
    } catch (error) {
      throw new JobwsError(`the function that gets the token failed: ${error}`);
    }
  }

  /** WebSocket; where it does not get through, HTTP. */
  async #open() {
    this.#timer = null;
    const { loadHttp, WebSocket } = this.settings;
    try {
      const token = await this.token();
      const http = loadHttp && (this.#http || !WebSocket || this.#tries % 3 === 2);
      const Link = http ? await loadHttp().catch(() => WebSocket && WebSocketLink) : WebSocketLink;
      if (!this.active || this.#link) return;
      if (Link) this.#link = this.#dial(Link, token);
      else this.#ended(null, 1006, 'jobws-http.js cannot be loaded');
    } catch (error) {
      this.stop(error);
    }
  }

  #dial(Link, token) {
    const link = new Link({ ...this.settings, token }, {
      ...this.to,
      frame: (text) => this.#take(link, text),
      end: (code, reason) => this.#ended(link, code, reason),
      upgrade: async () => this.#dial(WebSocketLink, await this.token().catch(() => {})),
    });
    link.late = setTimeout(() => this.#ended(link, 1006, 'timeout'), this.settings.timeout);
    return link;
  }

  #take(link, text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {} // below
    if (link.greeted ? !frame?.event : frame?.event !== 'hello') this.#ended(link, 1006, 'what answers does not speak jobws.v1');
    else if (!link.greeted) this.#greet(link, frame.data);
    else if (link === this.#link && frame.event !== 'hello') this.to.frame(frame);
  }

  #greet(link, hello) {
    clearTimeout(link.late);
    const [before, tries] = [this.#link, this.#tries];
    if (link !== before) {
      if (!before?.greeted || before.kind === 'websocket') return link.close(); // it comes too late to be an upgrade
      before.close();
    }
    Object.assign(link, { greeted: true });
    this.#link = link;
    this.#tries = 0;
    clearInterval(this.#timer);
    this.#timer = setInterval(this.to.turn, TURN);
    link.begin();
    this.to.greeted(hello, link.kind, link !== before, tries);
    link.nudge();
  }

  #ended(link, code, reason) {
    if (link !== this.#link) return this.#close(link);
    const { reconnection, reconnectionAttempts = Infinity, reconnectionDelay, reconnectionDelayMax, loadHttp, base } = this.settings;
    const was = this.#lose(reason === 'ping timeout' ? reason : code === 1006 ? 'transport close' : `${code} ${reason}`);
    if (!mayReturn(code)) return this.stop(new JobwsError(`the bridge refuses this client: ${code} ${reason}`, code));
    const origin = globalThis.location?.origin;
    const allowed = origin ? `, and does it allow this page's origin (jobws serve --allow-origin ${origin})` : '';
    const error = new JobwsError(`no jobws bridge at ${base}: is it running there, is that its URL${allowed}? (${reason || 'refused'})`);
    this.#http = !was && loadHttp && (reason === 'buffered' || (reason === 'timeout' && link?.kind === 'websocket'));
    if (!was && ++this.#tries >= 3) this.to.told('connect_error', error);
    if (reconnection === false || this.#tries > reconnectionAttempts) {
      this.stop(error);
      return this.to.told('reconnect_failed');
    }
    // Those that lost the same bridge do not come back together: a wait is random up to what doubles.
    const most = Math.min(reconnectionDelay * 2 ** this.#losses++, reconnectionDelayMax);
    this.#timer = setTimeout(() => this.#retry(), this.#http ? 0 : Math.random() * most);
  }

  #retry() {
    this.to.told('reconnect_attempt', this.#tries + 1);
    this.#open();
  }

  #close(link) {
    clearTimeout(link?.late);
    link?.close();
  }

  /** The connection is over; returns whether there had been one. */
  #lose(reason) {
    const link = this.#link;
    clearInterval(this.#timer);
    this.#timer = this.#link = null;
    this.#close(link);
    this.to.lost(link?.greeted, reason);
    return link?.greeted;
  }

  /** End for good, or until `connect` is called. */
  stop(error, reason = error.message) {
    if (!this.active) return;
    Object.assign(this, { active: false, failure: error });
    this.#lose(reason);
    for (const stop of this.#deaf.splice(0)) stop();
    this.to.stopped(error, reason);
  }

  /** A network that comes back, and a page that is looked at again, are reasons to see whether the bridge is there. */
  #listen() {
    const check = () => {
      if (this.#link?.greeted) return this.#link.check();
      if (!this.#timer) return; // it is tried
      clearTimeout(this.#timer);
      this.#retry();
    };
    const shown = () => globalThis.document.visibilityState === 'visible' && check();
    for (const [target, name, handler] of [[globalThis, 'online', check], [globalThis.document, 'visibilitychange', shown]]) {
      target?.addEventListener?.(name, handler);
      this.#deaf.push(() => target?.removeEventListener?.(name, handler));
    }
  }
}
