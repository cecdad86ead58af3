/** The fallback where no WebSocket gets through: the same frames over HTTP, in streams, or, where those are held back, in
 * answers that end. It is loaded when it is needed. Times are in milliseconds. Rules in brackets: protocol.md. */

// A stream over HTTP tells its position every 15 s [H8]; some proxies hold all of it back until it ends.
const STREAM_SILENCE = 40000;
const POLL_SECONDS = 20;
// The position that ends an answer may be earlier than its events by 0.3 s [P4]: who asks sooner is told the same again.
const POLL_PAUSE = 300;
// Everything is asked for again with each further request, so they are gathered: for so long, and so long for each
// subscription.
const GATHER = 50;
const GATHER_EACH = 2;

/** What HTTP carries, as WebSocketLink does; each request begins another `POST /events`, and gives the one before up. */
export class HttpLink {
  #settings;
  #to;
  #abort = new AbortController();
  #gathering = null;
  #poll;
  #silence;
  #upgrading;
  #patience = 0; // until when an answer is not given up before it told what was asked for

  /** `polls`: answers that end with the first news, since nobody sees them before they end. */
  constructor(settings, to) {
    this.#settings = settings;
    this.#to = to;
    this.kind = settings.network.buffers ? 'polling' : 'sse';
    this.#send([], 0);
  }

  begin() {
    this.#listen();
    const { WebSocket, upgradeDelay, upgradeDelayMax } = this.#settings;
    const upgrade = (delay) => {
      this.#upgrading = setTimeout(() => {
        upgrade(Math.min(2 * delay, upgradeDelayMax));
        this.#to.upgrade();
      }, delay);
    };
    if (WebSocket) upgrade(upgradeDelay);
  }

  check() {} // who is silent is found out, and the browser ends answers whose network is gone

  nudge() {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = null;
      // Who gives an answer up for each further request gets none.
      if (this.#to.awaited() && performance.now() < this.#patience) return this.nudge();
      if (this.#to.messages().some(({ event }) => event !== 'unsubscribe-job')) this.#ask();
    }, GATHER + GATHER_EACH * this.#to.size());
  }

  close() {
    this.#abort.abort();
    for (const timer of [this.#gathering, this.#poll, this.#silence, this.#upgrading]) clearTimeout(timer);
    this.#gathering = true;
  }

  /** Everything is asked for again; positions see to it that nothing comes twice. `wait`: for how many seconds for news. */
  #ask(wait = 0) {
    clearTimeout(this.#poll);
    this.#patience = wait ? 0 : performance.now() + this.#settings.timeout;
    this.#send(this.#to.messages(true), wait);
  }

  #send(messages, wait) {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#answer(messages, wait, this.#abort.signal);
  }

  async #answer(messages, wait, signal) {
    const { base, token, timeout, network } = this.#settings;
    const polls = this.kind === 'polling';
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
    const buffered = setTimeout(() => {
      if (polls) return;
      network.buffers = true;
      this.#end(signal, 1006, 'buffered');
    }, timeout / 2);
    try {
      const url = `${base}/events${polls ? `?wait=${wait}` : ''}`;
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(messages), signal, cache: 'no-store' });
      if (!response.ok) {
        const { detail } = await response.json().catch(() => ({}));
        const refused = response.status === 401 || response.status === 403;
        return this.#end(signal, refused ? 4501 : 1006, detail ?? `HTTP ${response.status}`);
      }
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      for (let text = ''; ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(buffered);
        const blocks = (text + decoder.decode(value, { stream: true })).split('\n\n');
        text = blocks.pop();
        for (const block of blocks) if (!signal.aborted) this.#take(block, signal);
      }
      if (polls && !signal.aborted) this.#again(messages.length > 0);
      else this.#end(signal, 1006, 'the stream ended');
    } catch (error) {
      this.#end(signal, 1006, String(error));
    } finally {
      clearTimeout(buffered);
    }
  }

  #take(block, signal) {
    const lines = block.split('\n');
    const data = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n');
    if (lines.includes('event: close')) {
      const { code, reason } = JSON.parse(data);
      this.#end(signal, code, reason);
    } else if (data) {
      this.#listen();
      this.#to.frame(data);
    }
  }

  /** A poll has ended. Where nothing is asked for, nothing comes. */
  #again(asked) {
    this.#patience = 0;
    if (asked) this.#poll = setTimeout(() => this.#ask(POLL_SECONDS), POLL_PAUSE);
    else clearTimeout(this.#silence);
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#to.end(1006, 'ping timeout'), STREAM_SILENCE);
  }

  #end(signal, code, reason) {
    if (signal.aborted) return;
    this.#abort.abort();
    this.#to.end(code, reason);
  }
}
