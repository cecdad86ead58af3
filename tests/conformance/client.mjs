// A whole client of jobws.v1, as protocol.md describes it: it watches jobs, comes back, and misses nothing. It needs a
// WebSocket and nothing else. Rules in brackets are those of protocol.md. Times are in milliseconds.

const OUTCOMES = ['completed', 'failed', 'removed'];
const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions', 'expired'];
const comesBack = (code) => (code < 4000 ? [1001, 1005, 1006, 1011, 1012, 1013].includes(code) : code < 4500); // [X1]

/** A position as text that compares as its two unsigned integers do, without what follows `~` [E4]. */
const sortable = (position) => position.replace(/~.*/s, '').replace(/\d+/g, (digits) => digits.padStart(20, '0'));

/** A client that comes back by itself: `{watch, wait, close}`. `turn`: how long a watch may keep others out. */
export function connect(url, { WebSocket = globalThis.WebSocket, ping = 20000, turn = 5000 } = {}) {
  const watches = new Set(); // all of them; at the end those that had a place last
  const waiting = new Set(); // those of them that are to be asked for
  const named = new Map(); // those that this connection was asked for, by name [P1]
  const asked = new Map(); // ref -> the names in an unanswered request, in order [S3]
  let limits = null; // what `hello` said; null: there is no connection
  let [socket, count, failures, closed] = [null, 0, 0, false]; // `count` is of names and refs

  /** `told(event, data, frame)` is called up to the outcome; if it `stays`, after it, too. Returns how to leave the job. */
  function watch(jobId, { queue, events, logs = false, stays = false }, told) {
    const each = {
      ...{ jobId: String(jobId), queue, events, logs, stays, told },
      name: null, // on this connection, if it was asked for
      acknowledged: false,
      after: undefined, // by queue, how far it has come [P3]; undefined: it was never acknowledged [R4]
      lines: {}, // the same for log lines [S12]
      alive: new Set(), // the queues in which the job was seen, and no outcome told since [P5]
    };
    watches.add(each);
    want(each);
    return () => leave(each);
  }

  /** The job's result. Rejects with what else became of it: `failed`, `removed`, `unknown`, `error`, `away`. */
  function wait(jobId, options = {}) {
    return new Promise((resolve, reject) => {
      const end = watch(jobId, options, (event, data) => {
        if (event === 'gap') return;
        end();
        if (event === 'completed') resolve(data.returnvalue); // if it is `truncated`, HTTP has it whole [E6]
        else reject(Object.assign(new Error(`job ${jobId}: ${event}`), { event, data }));
      });
    });
  }

  function want(each) {
    waiting.add(each);
    queueMicrotask(ask); // what one turn of the program wants goes out together
  }

  function leave(each) {
    if (each.name !== null) send('unsubscribe-job', { sub: each.name, jobId: each.jobId, queue: each.queue });
    forget(each);
  }

  function forget(each) {
    watches.delete(each);
    waiting.delete(each);
    release(each);
  }

  function release(each) {
    named.delete(each.name);
    Object.assign(each, { name: null, acknowledged: false });
  }

  function ask() {
    while (limits && waiting.size && named.size < limits.maxSubscriptions) {
      const items = [];
      for (let size = 128; waiting.size && named.size < limits.maxSubscriptions; ) {
        const [each] = waiting;
        const { jobId, queue, events, after, lines, stays } = each;
        const logs = each.logs && (Object.keys(lines).length ? { after: lines } : true);
        const item = { sub: ++count, jobId, queue, events, after, logs, until: stays ? undefined : 'end' };
        size += new TextEncoder().encode(JSON.stringify(item)).length + 1;
        if (items.length && size > limits.maxMessage) break;
        waiting.delete(each);
        named.set((each.name = item.sub), each);
        items.push(item);
      }
      asked.set(send('subscribe-job', items), items.map(({ sub }) => sub));
    }
  }

  function send(event, data) {
    socket.send(JSON.stringify({ event, data, ref: ++count }));
    return count;
  }

  function open() {
    let heard = Date.now();
    const timers = [setInterval(beat, ping), setInterval(takeTurns, turn)];
    socket = new WebSocket(url, ['jobws.v1']);
    Object.assign(socket, { onmessage: ({ data }) => ((heard = Date.now()), take(JSON.parse(data))), onclose, onerror() {} });
    function beat() {
      if (Date.now() - heard > 2 * ping + 5000) onclose({ code: 1006, reason: 'silence' }); // its own might never come
      else if (limits) send('ping'); // shows that it is alive, and keeps positions young [P4]
    }
    function onclose({ code, reason }) {
      timers.forEach(clearInterval);
      Object.assign(socket, { onmessage: null, onclose: null }).close();
      limits = null;
      asked.clear();
      for (const each of watches) release(each), waiting.add(each);
      if (!closed && comesBack(code)) setTimeout(open, Math.random() * Math.min(200 * 2 ** failures++, 5000));
      else for (const each of [...watches]) forget(each), each.told('away', { code, reason }, {});
    }
  }

  /** More watches than the bridge takes: those that had a place longest give it up, and miss nothing. */
  function takeTurns() {
    if (!limits) return;
    for (const each of [...watches].filter(({ acknowledged }) => acknowledged).slice(0, waiting.size)) {
      leave(each);
      watches.add(each);
      want(each);
    }
  }

  function take(frame) {
    const { event, data, ref, sub } = frame;
    const those = [...(sub === undefined ? named.values() : [named.get(sub)])].filter((each) => each?.acknowledged); // [P2]
    if (event === 'hello') limits = data.limits;
    else if (event === 'ack') answered(ref, data);
    else if (event === 'error') answered(ref, { error: data });
    else if (event === 'pong') for (const each of those) advance(each, data.after);
    else if (event === 'gap') for (const each of those) interrupt(each, frame);
    else if (event === 'ended') for (const each of sub === undefined ? [] : those) settle(each, {}, { error: data }); // [A5]
    else if (sub !== undefined) for (const each of those) hand(each, frame);
    ask();
  }

  function answered(ref, { results = [], after, evicted = [], error }) {
    if (!error) failures = 0;
    for (const [index, name] of (asked.get(ref) ?? []).entries()) if (named.has(name)) settle(named.get(name), after, error ? { error } : results[index]);
    asked.delete(ref);
    for (const { sub } of evicted) if (named.has(sub)) release(named.get(sub)); // its outcome was told [S10]
  }

  function settle(each, common, { error, unknown, gap, after, jobs }) {
    const { jobId, queue, alive } = each;
    if (error && PASSING.includes(error.code)) return release(each), setTimeout(() => watches.has(each) && want(each), 500 + 1000 * Math.random());
    if (error) return forget(each), each.told('error', error, {});
    Object.assign(each, { acknowledged: true, after: { ...common, ...after } }); // whatever it had [P5]
    if (queue !== undefined) each.after = { [queue]: each.after[queue] };
    for (const { queue, state } of jobs) if (state !== 'completed' && state !== 'failed') alive.add(queue);
    if (gap) each.told('gap', { queue: queue ?? null, jobs: [jobId] }, {});
    if (unknown && !alive.size) each.told('unknown', { jobId, queue }, {});
    if (unknown) for (const queue of [...alive]) if (watches.has(each)) hand(each, { event: 'removed', data: { queue, jobId } }); // [P5]
  }

  /** Later positions of queues that concern it; what followed `~` stays [P4]. */
  function advance({ queue, after: had }, after) {
    for (const label of queue === undefined ? Object.keys(after) : [queue])
      if (after[label] && (!had[label] || sortable(after[label]) > sortable(had[label]))) had[label] = after[label] + (had[label]?.match(/~.*/s) ?? '');
  }

  /** Positions of a stream that was replaced mean nothing [R6]. */
  function interrupt(each, { event, data, sub }) {
    if ((each.queue ?? data.queue) !== data.queue || !(sub !== undefined || (data.jobs ?? [each.jobId]).includes(each.jobId))) return;
    if (data.reason !== 'trimmed') each.after[data.queue] = '0-0';
    each.told(event, data, { sub });
  }

  function hand(each, frame) {
    const { event, id, data } = frame;
    const outcome = OUTCOMES.includes(event);
    if (event === 'job-log') each.lines[data.queue] = data.position;
    else each.alive[outcome ? 'delete' : 'add'](data.queue);
    if (id !== undefined) each.after[data.queue] = id; // everything up to there has come [P3]
    if (outcome && !each.stays) frame.id === undefined ? leave(each) : forget(each); // the bridge has left, too [S5]
    each.told(event, data, frame);
  }

  open();
  return { watch, wait, close: () => ((closed = true), socket.close()) };
}
