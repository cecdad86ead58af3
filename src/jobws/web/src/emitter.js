/** Event handlers by name, with the methods of socket.io-client. */
export class Emitter {
  #handlers = new Map();

  on(name, handler) {
    this.#handlers.set(name, [...(this.#handlers.get(name) ?? []), handler]);
    return this;
  }

  once(name, handler) {
    const once = (...args) => {
      this.off(name, once);
      handler.apply(this, args);
    };
    once.handler = handler;
    return this.on(name, once);
  }

  /** Remove a handler. Without `handler`, remove all handlers of this name. Without a name, remove all handlers. */
  off(name, handler) {
    if (name === undefined) this.#handlers.clear();
    const kept = (this.#handlers.get(name) ?? []).filter((each) => handler && each !== handler && each.handler !== handler);
    if (kept.length) this.#handlers.set(name, kept);
    else this.#handlers.delete(name);
    return this;
  }

  get names() {
    return [...this.#handlers.keys()];
  }

  /** Call the handlers. If a handler throws, the others are still called, and the error is reported as uncaught. */
  fire(name, ...args) {
    for (const handler of this.#handlers.get(name) ?? [])
      try {
        handler.apply(this, args);
      } catch (error) {
        setTimeout(() => {
          throw error;
        });
      }
  }
}
