/** What all elements have: the attributes `url` and `queue`, the property `token`, a shared connection, and when they render. */

import { part } from './client.js';
import { soon } from './dom.js';

const attached = new Set(); // the elements in the document
let common = { url: undefined, token: undefined };
let own; // the URL of the bridge that this script came from

/**
 * Notes the URL of this script. If it is called elements.js, it came from a bridge, and this bridge is the default of `url`. A script
 * with another name is the bundle of an app, which no bridge has served.
 */
export function cameFrom(script) {
  own = /^https?:.*\/(src\/elements\/)?elements\.js(\?.*)?$/.test(script)
    ? new URL('.', script.replace('/src/elements/', '/')).href
    : undefined;
}

/** Returns a URL as one text, in whichever way it is written. */
const whole = (url) => new URL(url, location.href).href.replace(/\/+$/, '');

function setCommon(changes) {
  common = { ...common, ...changes };
  for (const each of attached) each.restart();
}

/**
 * The base class of the elements. Each of them has a method `join(url, token)`, which returns the client (client.js) that it uses. On a
 * server that renders pages there is no HTMLElement; importing this must not fail there.
 */
export class JobwsElement extends (globalThis.HTMLElement ?? class {}) {
  #token;
  #client = null;
  #ends = [];
  #starting = false;
  #render = () => this.isConnected && this.render();

  static get token() {
    return common.token;
  }

  static set token(token) {
    setCommon({ token });
  }

  static get url() {
    return common.url ?? own ?? `${location.origin}/`;
  }

  static set url(url) {
    setCommon({ url });
  }

  /** Markup may name any bridge, but the common token is only for the common one. */
  get token() {
    return this.#token ?? (whole(this.url) === whole(JobwsElement.url) ? common.token : undefined);
  }

  set token(token) {
    this.#token = token ?? undefined;
    this.restart();
  }

  get url() {
    return this.getAttribute('url') ?? JobwsElement.url;
  }

  set url(url) {
    reflect(this, 'url', url);
  }

  /** The client of the connection (client.js); null before the element is in the document. */
  get client() {
    return this.#client;
  }

  connectedCallback() {
    // Properties that were set before this script defined the element hide those of the class.
    for (const name of Object.keys(this)) {
      const value = this[name];
      if (!(name in Object.getPrototypeOf(this))) continue;
      delete this[name];
      this[name] = value;
    }
    attached.add(this);
    this.restart();
    this.changed();
  }

  disconnectedCallback() {
    attached.delete(this);
    this.#stop();
  }

  attributeChangedCallback(name, before, now) {
    if (before !== now) this.restart();
  }

  /** Begins anew with the present attributes, after the current task, since several of them may change together. */
  restart() {
    if (this.#starting || !this.isConnected) return;
    this.#starting = true;
    queueMicrotask(() => {
      this.#starting = false;
      this.#stop();
      if (!this.isConnected) return;
      this.#client = this.join(new URL(this.url, location.href).href, this.token);
      this.#ends = [this.#client.watch(this.changed), ...this.start(this.#client)];
      this.changed();
    });
  }

  #stop() {
    for (const end of this.#ends.splice(0)) end();
    if (this.#client) part(this.#client);
    this.#client = null;
  }

  /** Has the element rendered before the next frame. */
  changed = () => soon(this.#render);

  /** Begins to show what the attributes name, with `client`. Returns a list of functions that end this. */
  start() {
    return [];
  }

  render() {}
}

/** Sets an attribute. The values null and undefined remove it. */
export function reflect(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** Defines properties that stand for attributes of the same names: texts, or null without the attribute; `flags` are booleans. */
export function reflects(Class, names, flags = []) {
  for (const name of names)
    Object.defineProperty(Class.prototype, name, {
      configurable: true,
      enumerable: true,
      get() {
        return this.getAttribute(name);
      },
      set(value) {
        reflect(this, name, value);
      },
    });
  for (const name of flags)
    Object.defineProperty(Class.prototype, name, {
      configurable: true,
      enumerable: true,
      get() {
        return this.hasAttribute(name);
      },
      set(value) {
        this.toggleAttribute(name, !!value);
      },
    });
}

/** Defines a custom element, unless there is one of this name already. */
export function define(name, Class) {
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, Class);
}
