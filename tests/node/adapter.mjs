// Clients of jobws.js, and what they tell: node adapter.mjs
//
// Does what each line of standard input says, {"do": …}, and ends with standard input. Each line of
// standard output is {"told": …}: of a client (`client`), or what became of a command that had an `id`.
//
//   {do: 'io', client, url, options}           options.WebSocket: false: there is none, as in Node 20 without `ws`;
//                                              options.token or .auth: {gives: […], how} is a function that gives one
//                                              after the other, or throws those that are {throws: …}, and tells the
//                                              event `token`; how: 'return', 'promise', or 'callback'
//   {do: 'on' | 'once' | 'off', client, event, manager}   → {told: 'event', client, event, data, id}; manager: `client.io`
//   {do: 'emit', client, args, id, timeout}    → {told: 'answer', id, args}, what the acknowledgement was called with
//   {do: 'call', client, method, args, id}     → {told: 'resolved', id, value} or {told: 'rejected', id, error}
//   {do: 'wait', client, id, jobId, options}   the same
//   {do: 'watch', client, id, jobId, options}  → {told: 'watched', id, event} …, at last resolved or rejected
//   {do: 'watchQueue', client, id, queues, options}   the same
//   {do: 'close', id}                          leaves the loop of a watch
//   {do: 'abort', id, reason}                  aborts the signal of a wait or a watch
//   {do: 'state', client, id}                  → resolved with {connected, active, transport}
//   {do: 'leave', id}                          closes all clients, forgets them and the module that they are of, and all
//                                              that happened to the page: as if the process had begun now → resolved
//   {do: 'page', event}                        `online` comes to the page, or `visibilitychange` to its document
//
// Every client tells of connect, disconnect, connect_error and transport unasked. {told: 'warning', text} is a
// console.warn, {told: 'uncaught', error} what handlers threw or nobody caught.
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';

globalThis.WebSocket = undefined; // newer Nodes have one
const running = new Map(); // wait or watch by id: how it is left
let lives = 0;
let io, watchQueue, page, clients, handlers;

async function begin() {
  // Another module each time: it has a memory of its own, for instance of what it has warned of.
  ({ io } = await import(`../../src/jobws/web/jobws.js?${++lives}`));
  ({ watchQueue } = await import('../../src/jobws/web/jobws-queues.js'));
  page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  clients = {};
  handlers = new Map();
}

const plain = (value) =>
  value instanceof Error ? { name: value.name, message: value.message, ...value } : value === undefined ? null : value;
const tell = (told, rest) => process.stdout.write(JSON.stringify({ told, ...rest }) + '\n');
console.warn = (text) => tell('warning', { text });
for (const name of ['uncaughtException', 'unhandledRejection'])
  process.on(name, (error) => tell('uncaught', { error: plain(error) }));

/** Tells it only in this life. */
function teller() {
  const life = lives;
  return (told, rest) => life === lives && tell(told, rest);
}

function settle(id, promise) {
  const tell = teller();
  promise
    .then((value) => tell('resolved', { id, value: plain(value) }), (error) => tell('rejected', { id, error: plain(error) }))
    .finally(() => running.delete(id));
}

/** The same handler for the same event, so that `off` can name it. */
function handler({ client, event, manager = false }) {
  const key = JSON.stringify([client, event, manager]);
  const tell = teller();
  if (!handlers.has(key)) handlers.set(key, (data, id) => tell('event', { client, event, data: plain(data), id }));
  return handlers.get(key);
}
const listen = (how) => (command) => {
  const { client, event, manager } = command;
  (manager ? clients[client].io : clients[client])[how](event, handler(command));
};

function tokens(client, { gives, how }) {
  const tell = teller();
  let asked = 0;
  const next = () => {
    tell('event', { client, event: 'token', data: null });
    const given = gives[Math.min(asked++, gives.length - 1)];
    if (given?.throws) throw new Error(given.throws);
    return given;
  };
  const ways = {
    return: () => next(),
    promise: async () => next(),
    callback: (give) => give(next()),
  };
  return ways[how ?? 'return'];
}

async function follow(id, watched) {
  const tell = teller();
  const iterator = watched[Symbol.asyncIterator]();
  running.get(id).close = () => iterator.return();
  for (let step; !(step = await iterator.next()).done; ) tell('watched', { id, event: step.value });
}
const signalled = (id, options) => {
  const abort = new AbortController();
  running.set(id, { abort });
  return { ...options, signal: abort.signal };
};

const commands = {
  io({ client, url, options: { WebSocket: wanted, ...options } = {} }) {
    for (const name of ['token', 'auth']) if (options[name]?.gives) options[name] = tokens(client, options[name]);
    const jobs = io(url, { ...options, ...(wanted !== false && { WebSocket }) });
    clients[client] = jobs;
    for (const event of ['connect', 'disconnect', 'connect_error', 'transport']) jobs.on(event, handler({ client, event }));
  },
  on: listen('on'),
  once: listen('once'),
  off: listen('off'),
  emit({ client, args, id, timeout }) {
    const tell = teller();
    const acknowledge = (...answers) => tell('answer', { id, args: answers.map(plain) });
    const from = timeout === undefined ? clients[client] : clients[client].timeout(timeout);
    from.emit(...args, ...(id === undefined ? [] : [acknowledge]));
  },
  call({ client, method, args = [], id }) {
    const called = (async () => clients[client][method](...args))();
    settle(id, called.then((value) => (value === clients[client] ? null : value)));
  },
  wait: ({ client, id, jobId, options }) => settle(id, clients[client].wait(jobId, signalled(id, options))),
  watch: ({ client, id, jobId, options }) => settle(id, follow(id, clients[client].watch(jobId, signalled(id, options)))),
  watchQueue: ({ client, id, queues, options }) => settle(id, follow(id, watchQueue(clients[client], queues, signalled(id, options)))),
  close: ({ id }) => running.get(id)?.close(),
  abort: ({ id, reason = 'aborted' }) => running.get(id)?.abort.abort(new Error(reason)),
  state({ client, id }) {
    const { connected, active, transport } = clients[client];
    tell('resolved', { id, value: { connected, active, transport } });
  },
  async leave({ id }) {
    for (const { abort } of running.values()) abort?.abort(new Error('the test is over'));
    for (const client of Object.values(clients)) client.close();
    await new Promise((resolve) => setTimeout(resolve)); // what follows from that, errors that nobody catches included
    running.clear();
    await begin();
    tell('resolved', { id });
  },
  page: ({ event }) => (event === 'online' ? page : document).dispatchEvent(new Event(event)),
};

await begin();
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command);
}
process.exit();
