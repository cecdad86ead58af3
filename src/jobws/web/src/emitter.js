/** Handlers by name, as socket.io-client has them. */
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

  /** Without a handler all of that name are removed, without a name all. */
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

  /** Calls the handlers. One that throws stops nothing; its error surfaces as an uncaught one. */
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
