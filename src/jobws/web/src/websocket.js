/** The usual link to a bridge. Times are in milliseconds. */
export class WebSocketLink {
  kind = 'websocket';
  #socket;
  #settings;
  #to;
  #beat;
  #silence = null;
  #due = false;

  /** `to.frame` takes what comes, and `to.end`, at last, a close code and why; `to.messages` gives what to send. */
  constructor(settings, to) {
    const { WebSocket, base, endpoint, token } = settings;
    const socket = new WebSocket((base + endpoint).replace('http', 'ws'), ['jobws.v1', ...(token ? [`bearer.${token}`] : [])]);
    this.#socket = Object.assign(socket, {
      onmessage: ({ data }) => {
        clearTimeout(this.#silence); // whatever comes shows that it is alive
        this.#silence = null;
        to.frame(data);
      },
      onerror: () => {}, // `close` follows
      onclose: ({ code, reason }) => to.end(code, String(reason ?? '')),
    });
    this.#settings = settings;
    this.#to = to;
  }

  /** The bridge has greeted. */
  begin() {
    this.#settings.network.buffers = false; // what held streams back is no longer in the way
    this.#beat = setInterval(() => this.check(), this.#settings.pingInterval);
  }

  /** A half-open connection stands for ever; and a `pong` keeps positions young [P4]. */
  check() {
    this.#send({ event: 'ping' });
    this.#silence ??= setTimeout(() => this.#to.end(1006, 'ping timeout'), this.#settings.pongTimeout);
  }

  /** What one turn of the program asks for goes out together. */
  nudge() {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      if (this.#socket.onclose) for (const message of this.#to.messages()) this.#send(message);
    });
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  close() {
    clearInterval(this.#beat);
    clearTimeout(this.#silence);
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(1000);
  }
}
