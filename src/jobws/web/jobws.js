/**
 * jobws: what becomes of BullMQ jobs, live, from a jobws bridge. One ES module without dependencies, for pages, workers,
 * extensions and Node. Change one import: it has the surface of socket.io-client that job pages use (`io`, `on`, `emit`
 * with acks). And it misses no outcome: `await jobs.wait(id)`, `for await (const event of jobs.watch(id))`.
 *
 * Rules in brackets are those of protocol.md.
 */

const OUTCOMES = ['completed', 'failed', 'removed'];
const LIMITS = { maxMessage: 262144, maxSubscriptions: 1000 };
// Names of more events than a subscription may have are asked for as `*` [S4].
const MAX_EVENTS = 32;
// All times are in milliseconds.
// A connection that lasted so long worked, and the next attempt after it comes soon.
const STEADY = 10000;
const SETTLE = 500;
const TURN = 5000;
// A stream over HTTP tells its position every 15 s [H8]; some proxies hold all of it back until it ends.
const STREAM_SILENCE = 40000;
const POLL_SECONDS = 20;
// The position that ends an answer may lag behind its events by 0.3 s [M5]: who asks sooner is told the same again.
const POLL_PAUSE = 300;
// About as many characters of log lines are kept for later watchers as the bridge tells a new subscription [S12].
const KEPT_LINES = 262144;
// The log that does not come back for now is asked for once more after so long.
const RETRY = 1000;
// Over HTTP everything is asked for again with each further request, so they are gathered: for so long, and so long for
// each room that there is.
const GATHER = 50;
const GATHER_ROOM = 2;
// Errors that pass by themselves.
const PASSING = ['unavailable', 'unsubscribed', 'too-many-subscriptions'];

/** Base of all errors of this module. `code` is the bridge's, if it is the bridge that refused. */
export class JobwsError extends Error {
  constructor(message, code) {
    super(message);
    this.name = this.constructor.name;
    if (code !== undefined) this.code = code;
  }
}
/** A job that was waited for failed, and will not be tried again. `reason` is its `failedReason`. */
export class JobFailed extends JobwsError {
  constructor(jobId, queue, reason) {
    super(`${named(jobId, queue)} failed: ${reason}`);
    Object.assign(this, { jobId, queue, reason });
  }
}
/** A job that was waited for was removed before it had ended. */
export class JobRemoved extends JobwsError {
  constructor(jobId, queue) {
    super(`${named(jobId, queue)} was removed before it had ended`);
    Object.assign(this, { jobId, queue });
  }
}
/** There is no such job, and no outcome of one, as far as Redis remembers. */
export class JobUnknown extends JobwsError {
  constructor(jobId, queue) {
    super(`no ${named(jobId, queue)}; if it is about to be added, wait with {expect: true}`);
    Object.assign(this, { jobId, queue });
  }
}
const unknownQueue = ({ jobId, queue }) =>
  new JobwsError(`${jobId}: no queue ${queue}; if it is about to come, wait with {expect: true}`, 'unknown-queue');
const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);
const named = (jobId, queue) => (queue === undefined ? `job ${jobId}` : `job ${jobId} of queue ${queue}`);

// ---- positions: stream ids by queue, which compare as two unsigned integers ----

const digits = (a, b) => a.length - b.length || (a > b) - (a < b);
function compare(first, second) {
  const [a, b] = [first.split('-'), second.split('-')];
  return digits(a[0], b[0]) || digits(a[1] ?? '0', b[1] ?? '0');
}
const later = (id, than) => than === undefined || compare(id, than) > 0;
function merged(first, second) {
  const all = { ...first };
  for (const queue in second) if (later(second[queue], all[queue])) all[queue] = second[queue];
  return all;
}

/** What tells two outcomes apart that have no id, without keeping a large result. */
function summary(event, { returnvalue, failedReason }) {
  const text = JSON.stringify([event, returnvalue ?? failedReason]);
  return `${text.length} ${text.slice(0, 200)}`;
}

/** A room's log lines [S12, E8]: how far they have come, and the last of them for who comes later. */
class Lines {
  #positions = {};
  #ends = {}; // by queue: the number of the next line
  #asked = new Map(); // ref -> the ends when it was asked for
  #repeated = {}; // by queue: the number that comes next, if it was asked for, and up to which lines had come before
  #kept = [];
  #size = 0;
  #followers = new WeakSet();

  /** What was told before, if nothing was here: a page kept these positions itself. */
  resume(positions) {
    this.#positions = { ...positions, ...this.#positions };
  }

  /** The `logs` of a subscription that goes on. */
  get wanted() {
    return Object.keys(this.#positions).length ? { after: { ...this.#positions } } : true;
  }

  /** The request has just what is wanted. */
  asked(ref) {
    this.#asked.set(ref, { ...this.#ends });
  }

  /** From now on lines come behind what was wanted then, also if it was asked for again since. */
  answered(ref) {
    const asked = this.#asked.get(ref) ?? {};
    this.#asked.delete(ref);
    this.#repeated = {};
    for (const queue in this.#ends) this.#repeated[queue] = [asked[queue], this.#ends[queue]];
  }

  leave() {
    this.#asked.clear();
  }

  /** What others have had before, for one who follows the lines from now on. */
  begin(watcher) {
    if (this.#followers.has(watcher)) return [];
    this.#followers.add(watcher);
    return [...this.#kept];
  }

  follows(watcher) {
    return this.#followers.has(watcher);
  }

  /** The event to hand on, without lines that came before; null: it has no others. */
  take(data) {
    const { queue, lines, first, position, gap } = data;
    const end = first + lines.length;
    const [following = first, until = first] = this.#repeated[queue] ?? [];
    delete this.#repeated[queue];
    const came = gap || following !== first ? 0 : Math.max(until - first, 0); // numbers may begin anew
    if (came > lines.length) this.#repeated[queue] = [end, until];
    else {
      this.#positions[queue] = position;
      this.#ends[queue] = end;
    }
    if (came >= lines.length) return null;
    const event = { event: 'job-log', data: { ...data, lines: lines.slice(came), first: first + came } };
    this.#kept.push(event);
    this.#size += weight(event);
    while (this.#size > KEPT_LINES && this.#kept.length > 1) this.#size -= weight(this.#kept.shift());
    return event;
  }
}
const weight = ({ data }) => data.lines.reduce((sum, line) => sum + line.length, 0);

/** One room, from its first watcher to its last, across connections: how far its events have come, and which came. */
class Room {
  watchers = new Set();
  ref = null; // of the latest subscription on this connection
  until = false; // that one ends with the outcome
  backoff = 0;
  answered = false; // that one is acknowledged
  listening = false; // one of this connection is
  settled = false; // everything that follows the ack has come; then the position moves with the events
  known = false; // there ever was such a job
  present = false; // there was one at the latest ack, or since
  queueUnknown = false; // there was no such queue at the latest ack
  replays = 0; // events still to be read back for us
  held = []; // events that wait until the room is settled
  position = null; // everything up to there has come
  lines = new Lines();
  #begin = null; // the first one that there was
  #fromAck = {};
  #announced = false;
  #tooEarly = {}; // no position before there is one that is later
  #floor = {}; // ids after it are remembered, and those of outcomes
  #seen = new Map(); // by queue: ids, and whether it was an outcome
  #told = {}; // the latest outcome, by queue
  #outcomes = new Map(); // what it was, by queue, as far as the job has one that was told
  #living = new Set(); // the queues in which the latest ack showed a job that had not ended

  constructor(queue, jobId) {
    Object.assign(this, { queue, jobId, key: keyOf(queue, jobId) });
  }

  get name() {
    return this.queue === undefined ? { jobId: this.jobId } : { jobId: this.jobId, queue: this.queue };
  }

  /** Whether the job's outcome was told: of all its queues, as far as they are known. */
  get ended() {
    return this.#outcomes.size > 0 && [...this.#outcomes.values()].every(Boolean);
  }

  get forever() {
    return [...this.watchers].some((watcher) => watcher.forever);
  }

  /** The item of `subscribe-job`. A settled room misses nothing when it is subscribed again without a position. */
  get item() {
    const item = this.name;
    const events = new Set(OUTCOMES);
    for (const { events: wanted } of this.watchers) for (const name of wanted) events.add(name);
    if (events.has('*') || events.size > MAX_EVENTS) item.events = ['*'];
    else if (events.size > OUTCOMES.length) item.events = [...events];
    if (!this.forever) item.until = 'end';
    if ([...this.watchers].some((watcher) => watcher.logs)) item.logs = this.lines.wanted;
    // Whoever waits for an outcome that the others had must get it, too.
    const told = [...this.#outcomes.values()].some(Boolean);
    const anew = this.settled || (told && [...this.watchers].some((watcher) => !watcher.forever));
    // After a gap there is no position, and the outcome of the job's present life is asked for; but of jobs of several
    // queues only what ended within the last minute [R8].
    const after = anew ? null : (this.position ?? (this.queue === undefined ? this.#begin : null));
    if (after) item.after = this.queue === undefined ? after : { [this.queue]: after[this.queue] ?? '0-0' };
    return item;
  }

  leave() {
    this.ref = null;
    this.answered = this.listening = this.settled = false;
    this.held = [];
    this.lines.leave();
  }

  /** `announced`: the cursor lies before what is read back for any of its list: for us, perhaps, in an earlier life. */
  acknowledge(cursor, { jobs = [], replays = 0, gap = false, unknownQueue = false }, announced) {
    this.answered = this.listening = true;
    this.settled = false;
    this.#fromAck = { ...cursor };
    if (gap) this.#doubt(Object.keys({ ...cursor, ...this.position }));
    if (replays || !announced) this.#begin ??= this.position ?? this.#fromAck;
    this.replays = replays;
    this.#announced = replays > 0;
    this.#tooEarly = announced ? { ...cursor } : {};
    this.present = jobs.length > 0 || replays > 0;
    this.known ||= this.present;
    this.queueUnknown = unknownQueue;
    for (const { queue } of jobs) if (!this.#outcomes.has(queue)) this.#outcomes.set(queue, '');
    const living = jobs.filter(({ state }) => state !== 'completed' && state !== 'failed');
    this.#living = new Set(living.map(({ queue }) => queue));
  }

  /** The job is gone. */
  vanish() {
    for (const queue of this.#outcomes.size ? this.#outcomes.keys() : [this.queue]) this.#outcomes.set(queue, 'removed');
  }

  /** Whether an event is a new one; from now on it no longer is. */
  admit({ event, data, id, replayed }) {
    const { queue } = data;
    const outcome = OUTCOMES.includes(event);
    const told = outcome ? summary(event, data) : '';
    this.known = this.present = true;
    if (id === undefined) {
      const before = this.#outcomes.get(queue);
      // That a job which had ended is gone by now is no news, unless it lived again.
      if (!outcome) return true;
      if (told === before || (event === 'removed' && before && !this.#living.has(queue))) return false;
      this.#outcomes.set(queue, told);
      this.#living.delete(queue);
      return true;
    }
    const seen = this.#seen.get(queue) ?? new Map();
    if (seen.has(id)) return false;
    // Another room of the job may have asked for what was long before; an outcome may come out of a hole.
    if (replayed && !later(id, (outcome ? this.#told : this.#floor)[queue])) return false;
    this.#seen.set(queue, seen.set(id, outcome));
    if (outcome) {
      this.#told[queue] = id;
      this.#living.delete(queue);
    }
    if (event !== 'progress') this.#outcomes.set(queue, told);
    const named = this.queue !== undefined; // else a position must name the other queues, too
    if (this.settled && (named || this.position)) this.position = merged(this.position, { [queue]: id });
    return true;
  }

  takeHeld() {
    const held = this.held;
    this.held = [];
    return held.sort((a, b) => (a.id === undefined) - (b.id === undefined) || (a.id ? compare(a.id, b.id) : 0));
  }

  /** Whether what follows the ack has come, once everything up to `cursor` has. */
  covered(cursor) {
    const began = Object.entries(this.#fromAck);
    // Another queue's stream may begin anew with lower ids, of which we are not told.
    const own = began.filter(([queue]) => (this.queue ?? queue) === queue);
    if (own.some(([queue, id]) => cursor[queue] === undefined || later(id, cursor[queue]))) return false;
    // A queue without events has no position [R9].
    return !this.#announced || (own.length ? own : began).some(([queue, id]) => (cursor[queue] ?? id) !== id);
  }

  /** Take a cursor that covers the room, once all that came before it was handed on. */
  reach(cursor) {
    this.settled = true;
    this.#fromAck = {};
    this.#announced = false;
    const early = Object.entries(this.#tooEarly);
    if (early.length && !early.some(([queue, id]) => cursor[queue] && later(cursor[queue], id))) return;
    this.#tooEarly = {};
    this.position = merged(this.position, cursor);
    this.#begin ??= this.position;
    this.#floor = merged(this.#floor, cursor);
    for (const [queue, ids] of this.#seen)
      for (const [id, outcome] of ids) if (!outcome && !later(id, this.#floor[queue])) ids.delete(id);
  }

  /** Events of the queue may be missing: what the bridge finds follows, as after an ack. */
  interrupt({ queue, cursor }) {
    this.settled = this.#announced = false;
    this.#fromAck = { ...this.#fromAck, ...cursor };
    this.#doubt([queue]);
  }

  /**
   * The position may be one of another stream, whose ids say nothing of this one's [R5, R6]. What came is known by its
   * id all the same: that a stream began anew may be found when its first events were told already.
   */
  #doubt(queues) {
    this.position = null;
    for (const queue of queues) {
      delete this.#floor[queue];
      delete this.#told[queue];
    }
  }
}

/**
 * What to ask the bridge for, and what to hand to whom. Nothing here waits: the socket calls `receive` with every frame
 * and sends what `requests` gives. One subscription per room for all who watch it.
 */
class Rooms {
  hello = null; // null: not connected
  pinging = false;
  queues = false; // whether whole queues are subscribed on this connection, too
  #rooms = new Map();
  #asked = new Map(); // ref -> rooms, in the order of the request
  #again = new Set(); // rooms that the bridge holds, and is to be told of once more
  #waiting = new Set();
  #retries = new Map(); // room -> when to ask again
  #held = new Map(); // what the bridge may hold for us, the oldest first
  #leaving = new Map();
  #unsettled = new Set();
  #pingDue = 0;
  #refreshDue = 0;
  #turnDue = 0;
  #settle = SETTLE;
  #ref = 0;
  #ping;

  /** `ping`: how often to ask whether the bridge is alive, and for positions. */
  constructor(ping) {
    this.#ping = ping;
  }

  nextRef() {
    return ++this.#ref;
  }

  // ---- watchers ----

  join(queue, jobId, watcher) {
    const fresh = new Room(queue, jobId);
    const room = this.#rooms.get(fresh.key) ?? fresh;
    this.#rooms.set(room.key, room);
    room.watchers.add(watcher);
    this.#want(room);
    return room;
  }

  leave(room, watcher) {
    if (!room.watchers.delete(watcher) || room.watchers.size || this.#rooms.get(room.key) !== room) return;
    this.#drop(room);
    this.#abandon(room);
  }

  /** Ask for these rooms again: what their watchers want is more than it was. */
  renew(rooms) {
    for (const room of rooms) this.#want(room);
  }

  /** Nothing will come for now: whoever waits is told. Who wants to stay comes back with the next connection. */
  fail(error) {
    this.disconnected();
    for (const room of [...this.#rooms.values()])
      for (const watcher of [...room.watchers].filter((each) => !each.forever)) {
        this.leave(room, watcher);
        watcher.refuse(error);
      }
  }

  // ---- the connection ----

  connected(hello, now) {
    this.hello = hello;
    this.#pingDue = this.#refreshDue = now + this.#ping;
    this.#turnDue = now + TURN;
    // Those of which nothing is expected come last.
    const rooms = [...this.#rooms.values()];
    this.#waiting = new Set([...rooms.filter((room) => !room.ended), ...rooms.filter((room) => room.ended)]);
  }

  disconnected() {
    this.hello = null;
    this.pinging = false;
    for (const each of [this.#asked, this.#again, this.#waiting, this.#retries, this.#held, this.#leaving]) each.clear();
    this.#unsettled.clear();
    for (const room of this.#rooms.values()) room.leave();
  }

  /** Have a `ping` sent soon. */
  check() {
    if (!this.pinging) this.#pingDue = 0;
  }

  get size() {
    return this.#rooms.size;
  }

  /** Whether answers, or what is read back, are still to come. */
  get awaited() {
    return this.#asked.size > 0 || [...this.#unsettled].some((room) => room.replays > 0);
  }

  /** When `requests` has something to send. */
  due() {
    if (!this.hello) return Infinity;
    if (this.#leaving.size || this.#again.size || (this.#waiting.size && this.#free() > 0)) return 0;
    return Math.min(this.#waiting.size ? this.#turnDue : Infinity, ...this.#retries.values(), this.pinging ? Infinity : this.#pingDue);
  }

  requests(now) {
    if (!this.hello) return [];
    for (const [room, due] of [...this.#retries])
      if (due <= now) {
        this.#retries.delete(room);
        this.#want(room);
      }
    this.#makePlace(now);
    const messages = [];
    const leaving = [...this.#leaving.values()];
    this.#leaving.clear();
    for (const room of leaving) this.#held.delete(room.key);
    for (const [batch] of this.#split(leaving.map((room) => [room.name, room])))
      messages.push({ event: 'unsubscribe-job', ref: this.nextRef(), data: batch });
    for (const [batch, rooms] of this.#split(this.#choose().map((room) => [room.item, room]))) {
      const ref = this.nextRef();
      this.#asked.set(ref, rooms);
      for (const room of rooms) {
        Object.assign(room, { ref, answered: false, until: !room.forever });
        room.lines.asked(ref);
      }
      messages.push({ event: 'subscribe-job', ref, data: batch });
    }
    if (!this.pinging && now >= this.#pingDue) {
      this.pinging = true;
      messages.push({ event: 'ping', ref: this.nextRef() });
    }
    return messages;
  }

  #free() {
    return Math.max(0, (this.hello.limits?.maxSubscriptions ?? LIMITS.maxSubscriptions) - this.#held.size);
  }

  #choose() {
    const again = [...this.#again];
    this.#again.clear();
    for (const room of again) if (!this.#held.has(room.key)) this.#waiting.add(room); // it was left in between
    const chosen = new Set([...again.filter((room) => this.#held.has(room.key)), ...[...this.#waiting].slice(0, this.#free())]);
    for (const room of chosen) {
      this.#waiting.delete(room);
      this.#held.delete(room.key);
      this.#held.set(room.key, room);
    }
    return [...chosen];
  }

  /** Of more rooms than the bridge takes, those without news give their places away, then those that had them longest. */
  #makePlace(now) {
    let wanted = [...this.#waiting].filter((room) => !room.ended).length - this.#free();
    if (!this.#free()) for (const room of this.#waiting) if (room.ended) this.#waiting.delete(room);
    if (wanted <= 0) return;
    const turn = now >= this.#turnDue;
    if (turn) this.#turnDue = now + TURN;
    const idle = [...this.#held.values()].filter(
      (room) => room.answered && room.settled && !this.#leaving.has(room.key) && !this.#again.has(room),
    );
    for (const room of [...idle.filter((each) => each.ended), ...(turn ? idle.filter((each) => !each.ended) : [])]) {
      if (wanted-- <= 0) break;
      room.leave();
      this.#abandon(room);
      if (!room.ended) this.#waiting.add(room);
    }
  }

  *#split(items) {
    const { maxMessage, maxSubscriptions } = { ...LIMITS, ...this.hello.limits };
    let [batch, rooms, size] = [[], [], 128];
    for (const [item, room] of items) {
      const bytes = new TextEncoder().encode(JSON.stringify(item)).length + 1;
      if (batch.length && (batch.length >= maxSubscriptions || size + bytes > maxMessage)) {
        yield [batch, rooms];
        [batch, rooms, size] = [[], [], 128];
      }
      batch.push(item);
      rooms.push(room);
      size += bytes;
    }
    if (batch.length) yield [batch, rooms];
  }

  // ---- what comes ----

  /** Take a frame. Returns whether it was an event of somebody's room. */
  receive(frame, now) {
    const { event, data, ref } = frame;
    switch (event) {
      case 'ack':
        if (this.#asked.has(ref)) this.#acknowledged(ref, data, now);
        return false;
      case 'error':
        for (const room of this.#asked.get(ref) ?? []) this.#refused(room, ref, data, now);
        this.#asked.delete(ref);
        return false;
      case 'pong':
        this.#pong(data.cursor ?? {}, now);
        return false;
      case 'gap':
        this.#gap(data, now);
        return false;
      case 'job-log':
        this.#lines(data);
        return true;
      case 'log': // of /logs, and perhaps about a job
        return false;
      default:
        return ref === undefined && data?.jobId !== undefined && this.#event(frame);
    }
  }

  #acknowledged(ref, { results = [], cursor = {}, evicted = [] }, now) {
    const rooms = this.#asked.get(ref);
    this.#asked.delete(ref);
    const announced = results.some(({ replays }) => replays);
    rooms.forEach((room, index) => {
      const result = results[index] ?? {};
      room.lines.answered(ref);
      if (result.error) this.#refused(room, ref, result.error, now);
      else if (!this.#rooms.has(room.key)) this.#abandon(room); // it ended, or was left, before it was answered
      else if (this.#rooms.get(room.key) === room && room.ref === ref) this.#subscribed(room, cursor, result, announced);
    });
    for (const { jobId, queue } of evicted) {
      const room = this.#rooms.get(keyOf(queue ?? undefined, String(jobId)));
      if (!room) continue;
      this.#held.delete(room.key);
      if (room.answered) {
        room.leave();
        if (!room.ended) this.#want(room);
      }
    }
    if (announced) this.#refreshDue = now;
    this.#settleSoon();
  }

  #subscribed(room, cursor, result, announced) {
    room.backoff = 0;
    room.acknowledge(cursor, result, announced);
    this.#unsettled.add(room);
    for (const watcher of [...room.watchers]) {
      watcher.answer?.({ ...result, cursor });
      if (!watcher.logs) continue;
      for (const event of room.lines.begin(watcher)) if (room.watchers.has(watcher)) watcher.deliver(event);
    }
    if (result.gap) this.#hand(room, { event: 'gap', data: { queue: room.queue ?? null, jobs: [room.jobId] } });
    this.#tryToSettle(room, cursor);
  }

  #refused(room, ref, { code, message }, now) {
    if (this.#rooms.get(room.key) !== room || room.ref !== ref) return;
    this.#held.delete(room.key);
    room.leave();
    if (!PASSING.includes(code)) return this.#refuse(room, new JobwsError(`${room.jobId}: ${message}`, code));
    room.backoff = Math.min(2 * (room.backoff || 50), 5000);
    this.#retries.set(room, now + Math.random() * room.backoff);
  }

  #settleSoon() {
    this.#settle = SETTLE;
    if (this.#unsettled.size) this.check();
  }

  #pong(cursor, now) {
    this.pinging = false;
    for (const room of [...this.#unsettled]) this.#tryToSettle(room, cursor);
    if (now >= this.#refreshDue) {
      if (!this.#unsettled.size) this.#refreshDue = now + this.#ping;
      for (const room of this.#rooms.values()) if (room.settled && room.covered(cursor)) room.reach(cursor);
    }
    this.#pingDue = now + this.#ping;
    if (!this.#unsettled.size) return;
    this.#pingDue = now + this.#settle;
    this.#settle = Math.min(2 * this.#settle, this.#ping);
  }

  /** Everything up to `cursor` was sent. A job that was not there has vanished, or never was. */
  #tryToSettle(room, cursor) {
    const wanted = this.#again.has(room) || this.#waiting.has(room) || this.#retries.has(room);
    if (!room.answered || wanted || !room.covered(cursor)) return; // whoever came since gets an answer of their own
    this.#unsettled.delete(room);
    for (const event of room.takeHeld()) if (this.#rooms.get(room.key) === room) this.#offer(room, event, false);
    if (this.#rooms.get(room.key) !== room) return;
    room.reach(cursor);
    if (room.present) return;
    if (room.known && !room.ended) {
      room.vanish();
      return this.#hand(room, { event: 'removed', data: { jobId: room.jobId, queue: room.queue }, replayed: true }, false);
    }
    for (const watcher of [...room.watchers].filter((each) => each.strict)) {
      this.leave(room, watcher);
      watcher.refuse(room.queueUnknown ? unknownQueue(room) : new JobUnknown(room.jobId, room.queue));
    }
  }

  #event(event) {
    const { queue, jobId } = event.data;
    const [named, anywhere] = [keyOf(queue, jobId), keyOf(undefined, jobId)];
    // A live event comes once, whichever room it is for, perhaps ahead of an ack or of what is replayed [E4].
    const both = this.#held.has(named) && this.#held.has(anywhere);
    let ours = false;
    for (const key of [named, anywhere]) {
      const room = this.#rooms.get(key);
      if (!room) continue;
      ours = true;
      const early = room.held.length > 0 || (this.queues && room.replays > 0 && !event.replayed);
      const doubtful = !room.listening || (!room.settled && (early || both));
      // What the bridge held during the look-up is counted as replayed, too, but not marked so [R1].
      if (event.replayed || !(both || this.queues)) room.replays--;
      if (doubtful && room.ref !== null) room.held.push(event);
      // What is replayed for a settled room was the other one's.
      else if (room.listening) this.#offer(room, event, !(event.replayed && room.settled));
    }
    // What is said to a room that was left is nobody's, unless somebody is subscribed to a whole queue.
    return ours || !this.queues;
  }

  /** Ahead of the first answer come those of an earlier room of the name. */
  #lines(data) {
    const room = this.#rooms.get(keyOf(data.anywhere ? undefined : data.queue, data.jobId));
    const event = room?.listening && room.lines.take(data);
    if (event) this.#hand(room, event);
  }

  #gap(gap, now) {
    for (const room of [...this.#rooms.values()]) {
      if (!room.listening || (room.queue ?? gap.queue) !== gap.queue) continue;
      if (gap.jobs && !gap.jobs.includes(room.jobId)) continue;
      room.interrupt(gap);
      this.#unsettled.add(room);
      this.#hand(room, { event: 'gap', data: gap });
    }
    this.#settleSoon(now);
  }

  // ---- handing out, and ends ----

  /** An outcome that is no news to those who stay is one to whoever waits for it: nobody who had one waits any more. */
  #offer(room, event, left) {
    const fresh = room.admit(event);
    if (fresh || OUTCOMES.includes(event.event)) this.#hand(room, event, left, !fresh);
  }

  #hand(room, event, left = true, onlyWaiting = false) {
    const outcome = OUTCOMES.includes(event.event);
    for (const watcher of [...room.watchers]) {
      if (onlyWaiting && watcher.forever) continue;
      if (outcome && !watcher.forever) room.watchers.delete(watcher);
      if (outcome || this.#wants(room, watcher, event.event)) watcher.deliver(event);
    }
    // Those who handle an event may have joined or left.
    if (outcome && this.#rooms.get(room.key) === room) this.#ended(room, left);
  }

  #wants(room, watcher, name) {
    if (name === 'gap') return watcher.gaps;
    if (name === 'job-log') return watcher.logs && room.lines.follows(watcher);
    return watcher.events.includes('*') || watcher.events.includes(name);
  }

  #ended(room, left) {
    const gone = left && room.until;
    if (room.watchers.size) {
      if (gone && room.answered) {
        this.#held.delete(room.key);
        this.#want(room);
      }
      return;
    }
    this.#drop(room);
    if (!room.answered) return; // the answer, if one is due, will tell that nobody waits for it
    // Without a queue the bridge stays until every queue that has the job has told its outcome [S5].
    if (gone && room.queue !== undefined) this.#held.delete(room.key);
    else this.#abandon(room);
  }

  #refuse(room, error) {
    this.#drop(room);
    for (const watcher of [...room.watchers]) watcher.refuse(error);
  }

  #want(room) {
    (this.#held.has(room.key) ? this.#again : this.#waiting).add(room);
  }

  #abandon(room) {
    if (this.#held.has(room.key)) this.#leaving.set(room.key, room);
  }

  #drop(room) {
    this.#rooms.delete(room.key);
    for (const each of [this.#again, this.#waiting, this.#retries, this.#unsettled]) each.delete(room);
  }
}

// ---- connections: `send` messages; they call `frame` with what comes, and at last, once, `end` with a close code ----

class WebSocketLink {
  kind = 'websocket';

  constructor({ WebSocket, url, token }, { frame, end }) {
    this.socket = new WebSocket(url.replace(/^http/, 'ws'), token ? ['jobws.v1', `bearer.${token}`] : ['jobws.v1']);
    this.socket.onmessage = ({ data }) => frame(data);
    this.socket.onerror = () => {}; // `close` follows
    this.socket.onclose = ({ code, reason }) => end(code, String(reason ?? ''));
  }

  send(messages) {
    for (const message of messages) this.socket.send(JSON.stringify(message));
  }

  close() {
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close(1000);
  }
}

/** The same over HTTP [H8]: each `send` begins another answer, which is a stream, or (`polls`) ends with the first news. */
class HttpLink {
  #abort = new AbortController();

  constructor({ http, token, polls, timeout }, callbacks) {
    Object.assign(this, callbacks, { http, token, polls, timeout, kind: polls ? 'polling' : 'sse' });
  }

  /** `wait`: for how many seconds a polled answer, which nobody sees before it ends, may wait for news. */
  send(messages, wait = 0) {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#answer(messages, wait, this.#abort.signal);
  }

  async #answer(messages, wait, signal) {
    const headers = { 'content-type': 'application/json', ...(this.token && { authorization: `Bearer ${this.token}` }) };
    const query = this.polls ? `?wait=${wait}` : '';
    const buffered = setTimeout(() => signal.aborted || this.polls || this.#end(signal, 1006, 'buffered'), this.timeout / 2);
    try {
      const body = JSON.stringify(messages);
      const response = await fetch(this.http + query, { method: 'POST', headers, body, signal, cache: 'no-store' });
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
      if (this.polls && !signal.aborted) this.answered(messages.length > 0);
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
    } else if (data) this.frame(data);
  }

  #end(signal, code, reason) {
    if (signal.aborted) return;
    this.#abort.abort();
    this.end(code, reason);
  }

  close() {
    this.#abort.abort();
  }
}

/** Whether a client whose connection ended with `code` should come back (README, close codes). */
const mayReturn = (code) => [1001, 1005, 1006, 1011, 1012, 1013].includes(code) || (code >= 4000 && code < 4500);

class Emitter {
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

// Handlers of these names want no job events. Custom job events of such names come as `custom:<name>` [E3].
const OWN = new Set(
  'connect disconnect connect_error transport hello ack error gap pong ping expiring authenticate log dropped job-log queue-stats'.split(' '),
);
const KNOWN = new Set(
  'path auth token transports reconnection reconnectionAttempts reconnectionDelay reconnectionDelayMax randomizationFactor timeout pingInterval pongTimeout upgradeDelay upgradeDelayMax autoConnect WebSocket'.split(' '),
);
// `timeout`: a connection that has not begun after so long is given up, a stream that has not, after half of that: the
// network holds it back. `pongTimeout`: one that does not answer a `ping` for so long is dead. `upgradeDelay`: where only
// HTTP gets through, WebSocket is tried again after so long, then after twice as long, and so on.
const DEFAULTS = {
  timeout: 10000,
  pingInterval: 20000,
  pongTimeout: 10000,
  reconnectionDelay: 100,
  reconnectionDelayMax: 5000,
  upgradeDelay: 30000,
  upgradeDelayMax: 300000,
};
const warned = new Set();
function warn(text) {
  if (!warned.has(text)) console.warn(`jobws: ${text}`);
  warned.add(text);
}

/** A connection to a bridge that comes back by itself; made by `io`. */
export class Jobs extends Emitter {
  connected = false;
  /** What carries the events now: `websocket`, `sse`, `polling`, or null. */
  transport = null;
  /** What socket.io-client calls the manager: `jobs.io.on('reconnect', …)`. */
  io = new Emitter();
  #options;
  #base;
  #logs;
  #fallback;
  #WebSocket;
  #rooms;
  #active = false;
  #failure = null;
  #link = null;
  #watched = new Map(); // rooms by key that `emit` subscribed -> watcher
  #standing = new Map(); // requests that each connection needs again
  #calls = new Map(); // ref -> unanswered request
  #outgoing = [];
  #timers = {};
  #tries = 0; // connections without `hello` since the last one with
  #losses = 0; // connections that did not last
  #began = 0;
  #everConnected = false;
  #http = false; // it is tried next, at once
  #buffered = false; // the network holds streams back
  #upgrade; // how long to stay with HTTP before WebSocket is tried again
  #flushing = false;
  #patience = 0; // until when an answer over HTTP is not given up for the sake of further requests
  #offline = [];

  constructor(url, options = {}) {
    super();
    const unknown = Object.keys(options).filter((name) => !KNOWN.has(name));
    if (unknown.length) warn(`these options mean nothing to it: ${unknown.join(', ')}`);
    this.#options = { ...DEFAULTS, ...options };
    this.#rooms = new Rooms(this.#options.pingInterval);
    this.#upgrade = this.#options.upgradeDelay;
    const base = new URL(url ?? '/', globalThis.location?.href);
    let path = base.pathname.replace(/\/+$/, '');
    this.#logs = path.endsWith('/logs');
    if (this.#logs) path = path.slice(0, -5);
    if (options.path && !options.path.startsWith('/socket.io')) path = options.path.replace(/\/(ws)?\/*$/, '');
    else if (options.path) warn(`path ${options.path} is socket.io's; the path of the bridge goes into the URL`);
    this.#base = base.protocol.replace('ws', 'http') + '//' + base.host + path;
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    const { transports } = options;
    this.#fallback = !this.#logs && (!transports || transports.some((name) => name !== 'websocket'));
    if (!this.#WebSocket && !this.#fallback) throw new JobwsError('there is no WebSocket here: pass one, io(url, {WebSocket})');
    if (options.autoConnect !== false) this.connect();
  }

  // ---- socket.io's surface ----

  get active() {
    return this.#active;
  }

  get disconnected() {
    return !this.connected;
  }

  connect() {
    if (this.#active) return this;
    this.#active = true;
    this.#failure = null;
    this.#tries = 0;
    this.#listen();
    this.#after('connect', 0, () => this.#open());
    return this;
  }

  open() {
    return this.connect();
  }

  disconnect() {
    this.#stop(new JobwsError('this client was disconnected'), 'io client disconnect');
    return this;
  }

  close() {
    return this.disconnect();
  }

  on(name, handler) {
    const known = this.names.includes(name);
    super.on(name, handler);
    // A page says by its handlers which events it wants.
    if (!known && !OWN.has(name)) this.#renew();
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

  // ---- what it adds ----

  /**
   * A job's result, at once if it has ended. Rejects with JobFailed, JobRemoved, JobUnknown (unless `expect`: the job is
   * about to be added), a TimeoutError after `timeout` ms, the reason of `signal`, or a JobwsError of the bridge's.
   */
  wait(jobId, { queue, timeout, expect = false, signal } = {}) {
    return new Promise((resolve, reject) => {
      let timer;
      const finish = (settle, value) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        leave();
        settle(value);
      };
      const aborted = () => finish(reject, signal.reason);
      const leave = this.#watch(jobId, queue, {
        events: [],
        strict: !expect,
        refuse: (error) => finish(reject, error),
        deliver: ({ event, data }) => {
          if (event === 'removed') return finish(reject, new JobRemoved(String(jobId), data.queue ?? queue));
          const key = event === 'completed' ? 'returnvalue' : 'failedReason';
          const settle = (value) =>
            event === 'completed' ? finish(resolve, value) : finish(reject, new JobFailed(String(jobId), data.queue, value));
          if (key in data || !data.truncated) return settle(data[key]);
          // It was too large for an event.
          this.lookup(jobId, { queue: data.queue }).then(([job]) => settle(job?.[key]), (error) => finish(reject, error));
        },
      });
      if (signal?.aborted) return aborted();
      signal?.addEventListener('abort', aborted);
      if (timeout !== undefined)
        timer = setTimeout(() => {
          const error = new JobwsError(`${named(jobId, queue)} has not ended within ${timeout} ms`);
          error.name = 'TimeoutError';
          finish(reject, error);
        }, timeout);
    });
  }

  /**
   * The events of a job, `{event, data, id?, replayed?}`, until its outcome: `for await (const event of jobs.watch(id))`.
   * `events` names those that are wanted, `*` all; outcomes always come, and `gap`: events may be missing. `logs`: what
   * the worker writes with `job.log()`, too, as `job-log`.
   */
  watch(jobId, options) {
    return { [Symbol.asyncIterator]: () => this.#iterate(jobId, options) };
  }

  #iterate(jobId, { queue, events = [], expect = true, logs = false, signal } = {}) {
    const items = [];
    let [wake, failure, over] = [null, null, false];
    const end = (error) => {
      failure ??= error;
      over = true;
      leave();
      wake?.();
    };
    const leave = this.#watch(jobId, queue, {
      events,
      logs,
      gaps: true,
      strict: !expect,
      refuse: end,
      deliver: (event) => {
        items.push(event);
        if (OUTCOMES.includes(event.event)) end();
        wake?.();
      },
    });
    const aborted = () => end(signal.reason);
    if (signal?.aborted) aborted();
    signal?.addEventListener('abort', aborted, { once: true });
    return {
      next: async () => {
        while (!items.length && !over) await new Promise((resolve) => (wake = resolve));
        if (items.length) return { value: items.shift(), done: false };
        const error = failure;
        failure = null;
        if (error) throw error;
        return { value: undefined, done: true };
      },
      return: async () => {
        signal?.removeEventListener('abort', aborted);
        items.length = 0;
        end();
        return { value: undefined, done: true };
      },
    };
  }

  /** Snapshots with results, one per queue that has a job of that id; maybe none. */
  async lookup(jobId, { queue } = {}) {
    const token = await this.#token();
    const query = new URLSearchParams({ jobId, ...(queue !== undefined && { queue }) });
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(`${this.#base}/jobs?${query}`, { headers, cache: 'no-store' });
    const answer = await response.json();
    if (response.ok) return answer.jobs ?? [answer];
    if (response.status === 404) return [];
    throw new JobwsError(answer.detail ?? `HTTP ${response.status}`, answer.code);
  }

  /** Begin to watch a room; returns how to leave it. */
  #watch(jobId, queue, watcher) {
    let room = null;
    if (this.#failure) queueMicrotask(() => watcher.refuse(this.#failure));
    else {
      const id = asId(jobId);
      if (id === null) queueMicrotask(() => watcher.refuse(new JobwsError(BAD_ID, 'bad-job-id')));
      else room = this.#rooms.join(queue, id, watcher);
      this.#nudge();
    }
    return () => {
      if (!room) return;
      this.#rooms.leave(room, watcher);
      this.#nudge();
    };
  }

  // ---- requests ----

  /** Ask the bridge; resolves with its ack's data, or with `{error: {code, message}}`. */
  #request(event, data) {
    if (event === 'subscribe-job' || event === 'unsubscribe-job') {
      const many = Array.isArray(data) || Array.isArray(data?.jobs);
      const { jobs = data, ...common } = many && !Array.isArray(data) ? data : {};
      const items = (many ? jobs : [data]).map((item) => ({
        ...common,
        ...(typeof item === 'object' && item ? item : { jobId: item }),
      }));
      const each = items.map((item) => (event === 'subscribe-job' ? this.#subscribe(item) : this.#unsubscribe(item)));
      this.#nudge();
      return Promise.all(each).then((results) => {
        if (many) return { request: event, results };
        return results[0].error ? results[0] : { request: event, ...results[0] };
      });
    }
    return new Promise((resolve) => {
      const call = { event, ref: this.#rooms.nextRef(), ...(data !== undefined && { data }) };
      const standing = /^(un)?(subscribe-.+)$/.exec(event);
      if (standing) {
        const key = standing[2] === 'subscribe-queue' ? `${standing[2]} ${data?.queue ?? data}` : standing[2];
        if (standing[1]) this.#standing.delete(key);
        else this.#standing.set(key, call);
        this.#rooms.queues ||= event === 'subscribe-queue';
      }
      this.#calls.set(call.ref, { call, resolve });
      this.#outgoing.push(call);
      this.#nudge();
    });
  }

  #subscribe({ jobId, queue, events, until, after, logs }) {
    return new Promise((resolve) => {
      const id = asId(jobId);
      if (id === null) return resolve({ error: { code: 'bad-job-id', message: BAD_ID } });
      const key = keyOf(queue, id);
      const jobs = this;
      const watcher = this.#watched.get(key) ?? {
        forever: true,
        asked: [],
        get events() {
          return this.chosen ?? jobs.names.filter((name) => !OWN.has(name) && new TextEncoder().encode(name).length <= 64);
        },
        answer: (result) => watcher.asked.splice(0).forEach((answer) => answer(result)),
        deliver: ({ event, data }) => {
          if (until === 'end' && OUTCOMES.includes(event)) this.#unsubscribe({ jobId, queue });
          this.fire(event, data);
        },
        refuse: ({ code, message }) => {
          this.#watched.delete(key);
          watcher.answer({ error: { code: code ?? 'unavailable', message } });
        },
      };
      if (events) watcher.chosen = events;
      if (logs !== undefined) watcher.logs = Boolean(logs);
      watcher.asked.push(resolve);
      watcher.room = this.#rooms.join(queue, id, watcher);
      // A page that kept positions itself.
      const byQueue = (position) => (position?.trim ? { [queue]: position } : position);
      if (after && !watcher.room.position && !watcher.room.ref) watcher.room.position = byQueue(after);
      if (!watcher.room.ref) watcher.room.lines.resume(byQueue(logs?.after));
      this.#watched.set(key, watcher);
    });
  }

  #unsubscribe({ jobId, queue }) {
    const key = keyOf(queue, asId(jobId));
    const watcher = this.#watched.get(key);
    this.#watched.delete(key);
    if (watcher) {
      this.#rooms.leave(watcher.room, watcher);
      watcher.answer({ error: { code: 'unsubscribed', message: 'the room was left before the subscription was answered' } });
    }
    return { left: watcher !== undefined };
  }

  #renew() {
    const open = [...this.#watched.values()].filter((watcher) => !watcher.chosen);
    this.#rooms.renew(open.map((watcher) => watcher.room));
    this.#nudge();
  }

  // ---- sending ----

  #nudge() {
    if (!this.connected) return;
    const now = performance.now();
    let wait = this.#outgoing.length ? 0 : this.#rooms.due() - now;
    if (this.#awaited) wait = Math.max(wait, this.#patience - now);
    if (wait > 0) return this.#after('due', Math.min(wait, 1e9), () => this.#flush());
    if (this.#flushing) return;
    this.#flushing = true;
    // What one turn of the program asks for goes out in one message; over HTTP, each one costs an answer.
    const flush = () => {
      this.#flushing = false;
      this.#flush();
    };
    if (this.#link.kind === 'websocket') queueMicrotask(flush);
    else setTimeout(flush, GATHER + GATHER_ROOM * this.#rooms.size);
  }

  #flush() {
    if (!this.connected) return;
    const messages = [...this.#rooms.requests(performance.now()), ...this.#outgoing];
    this.#outgoing = [];
    if (this.#link.kind === 'websocket') {
      this.#link.send(messages);
      if (this.#rooms.pinging && !this.#timers.silence) this.#listenFor(this.#options.pongTimeout);
    } else if (messages.some(({ event }) => event !== 'ping' && event !== 'unsubscribe-job')) this.#ask();
    this.#nudge();
  }

  /** Whether an answer is under way that tells what was asked for: who gave it up for each further request got none. */
  get #awaited() {
    const unsent = this.#outgoing.length;
    return this.transport !== 'websocket' && (this.#rooms.awaited || this.#calls.size > unsent);
  }

  /** Over HTTP everything is asked for again; positions see to it that nothing comes twice. */
  #ask(wait) {
    this.#forget('poll');
    this.#patience = wait === undefined ? performance.now() + this.#options.timeout : 0;
    const { hello } = this.#rooms;
    this.#rooms.disconnected();
    this.#rooms.connected(hello, performance.now());
    const messages = this.#rooms.requests(performance.now());
    this.#link.send([...messages, ...this.#unanswered()], wait);
  }

  #unanswered() {
    const calls = [...this.#calls.values()].map(({ call }) => call);
    const standing = [...this.#standing.values()].filter((call) => !calls.includes(call));
    return [...standing, ...calls];
  }

  /** If nothing comes within that time, the connection is dead. */
  #listenFor(milliseconds) {
    this.#after('silence', milliseconds, () => this.#ended(this.#link, 1006, 'ping timeout'));
  }

  #after(name, milliseconds, task) {
    this.#forget(name);
    this.#timers[name] = setTimeout(() => {
      delete this.#timers[name];
      task();
    }, milliseconds);
  }

  #forget(...names) {
    for (const name of names) {
      clearTimeout(this.#timers[name]);
      delete this.#timers[name];
    }
  }

  // ---- connecting ----

  async #open() {
    let token;
    try {
      token = await this.#token();
    } catch (error) {
      return this.#stop(error);
    }
    if (!this.#active || this.#link) return;
    this.#link = this.#dial(this.#kind(), token, (link, hello) => this.#greeted(link, hello));
    const link = this.#link;
    this.#after('hello', this.#options.timeout, () => this.#ended(link, 1006, 'timeout'));
  }

  /** WebSocket; where it does not get through, HTTP: a stream, or, if the network holds streams back, answers. */
  #kind() {
    const http = this.#fallback && (this.#http || !this.#WebSocket || this.#tries % 3 === 2);
    this.#http = false;
    if (!http) return 'websocket';
    return this.#buffered ? 'polling' : 'sse';
  }

  #dial(kind, token, greeted) {
    let [link, hello] = [null, false];
    const callbacks = {
      frame: (text) => {
        let frame;
        try {
          frame = JSON.parse(text);
        } catch {} // below
        if (hello ? !frame?.event : frame?.event !== 'hello') return this.#ended(link, 1006, 'what answers does not speak jobws.v1');
        if (frame.event !== 'hello') return link === this.#link && this.#take(frame);
        if (!hello) greeted(link, frame.data);
        hello = true;
      },
      end: (code, reason) => this.#ended(link, code, reason),
      answered: (asked) => {
        if (link !== this.#link || !this.connected) return;
        this.#patience = 0;
        this.#nudge();
        if (asked) this.#after('poll', POLL_PAUSE, () => this.#ask(POLL_SECONDS));
        else this.#forget('silence'); // nothing is asked for, so nothing comes
      },
    };
    if (kind === 'websocket') {
      link = new WebSocketLink({ WebSocket: this.#WebSocket, url: this.#base + (this.#logs ? '/logs' : '/ws'), token }, callbacks);
    } else {
      link = new HttpLink({ http: `${this.#base}/events`, token, polls: kind === 'polling', timeout: this.#options.timeout }, callbacks);
      link.send([]);
    }
    return link;
  }

  #greeted(link, hello) {
    this.#forget('hello', 'silence', 'poll');
    const [before, tries] = [this.#link, this.#tries];
    if (before !== link) before?.close();
    const again = this.connected;
    if (again) this.#rooms.disconnected();
    Object.assign(this, { connected: true, transport: link.kind });
    this.#link = link;
    this.#tries = 0;
    this.#began = performance.now();
    this.#rooms.connected(hello, this.#began);
    this.#outgoing = this.#unanswered();
    if (link.kind !== 'websocket') {
      this.#listenFor(STREAM_SILENCE);
      if (this.#WebSocket) this.#after('upgrade', this.#upgrade, () => this.#tryToUpgrade());
    } else {
      this.#upgrade = this.#options.upgradeDelay;
      this.#buffered = false; // whatever held streams back is no longer in the way
    }
    if (!again) {
      if (this.#everConnected) this.io.fire('reconnect', tries + 1);
      this.#everConnected = true;
      this.fire('connect');
    }
    this.fire('transport', link.kind);
    this.#nudge();
  }

  async #tryToUpgrade() {
    this.#upgrade = Math.min(2 * this.#upgrade, this.#options.upgradeDelayMax);
    this.#after('upgrade', this.#upgrade, () => this.#tryToUpgrade());
    const link = this.#dial('websocket', await this.#token().catch(() => undefined), (found, hello) => {
      if (!this.connected || this.transport === 'websocket') return found.close();
      this.#forget('upgrade');
      return this.#greeted(found, hello);
    });
    setTimeout(() => link !== this.#link && link.close(), this.#options.timeout);
  }

  #ended(link, code, reason) {
    if (link !== this.#link || !link) return;
    link.close();
    const { kind } = link;
    const was = this.#lost(reason === 'ping timeout' ? reason : code === 1006 ? 'transport close' : `${code} ${reason}`);
    if (!mayReturn(code)) return this.#stop(new JobwsError(`the bridge refuses this client: ${code} ${reason}`, code));
    if (was && performance.now() - this.#began > STEADY) this.#losses = 0;
    if (!was) {
      this.#tries++;
      if (reason === 'buffered') this.#buffered = true;
      this.#http = this.#fallback && (reason === 'buffered' || (reason === 'timeout' && kind === 'websocket'));
      if (this.#tries >= 3) this.fire('connect_error', new JobwsError(this.#unreachable(reason)));
    }
    const { reconnection, reconnectionAttempts, reconnectionDelay, reconnectionDelayMax } = this.#options;
    if (reconnection === false || this.#tries > (reconnectionAttempts ?? Infinity)) {
      this.#stop(new JobwsError(this.#unreachable(reason)));
      return this.io.fire('reconnect_failed');
    }
    const most = Math.min(reconnectionDelay * 2 ** this.#losses++, reconnectionDelayMax);
    this.#after('connect', this.#http ? 0 : Math.random() * most, () => {
      this.io.fire('reconnect_attempt', this.#tries + 1);
      this.#open();
    });
  }

  /** The connection is over; returns whether it had been one. */
  #lost(reason) {
    const was = this.connected;
    this.#forget('hello', 'silence', 'upgrade', 'due', 'connect', 'poll', 'logs');
    Object.assign(this, { connected: false, transport: null });
    this.#link = null;
    this.#outgoing = [];
    this.#rooms.disconnected();
    if (was) this.fire('disconnect', reason);
    return was;
  }

  /** End for good, or until `connect()` is called. */
  #stop(error, reason = error.message) {
    if (!this.#active) return;
    this.#active = false;
    this.#failure = error;
    this.#link?.close();
    this.#lost(reason);
    for (const stop of this.#offline.splice(0)) stop();
    this.#rooms.fail(error);
    const answer = { error: { code: error.code ?? 'disconnected', message: error.message } };
    for (const { resolve } of this.#calls.values()) resolve(answer);
    for (const watcher of this.#watched.values()) watcher.answer(answer);
    this.#calls.clear();
    if (reason !== 'io client disconnect') this.fire('connect_error', error);
  }

  #unreachable(reason) {
    const origin = globalThis.location?.origin;
    const check = origin ? `, and does it allow this page's origin (jobws serve --allow-origin ${origin})` : '';
    return `no jobws bridge at ${this.#base}: is it running there, is that its URL${check}? (${reason || 'refused'})`;
  }

  /** A network that comes back, and a page that is looked at again, are reasons to see whether the bridge is there. */
  #listen() {
    const check = () => {
      if (this.connected) this.#rooms.check();
      else if (this.#timers.connect) this.#after('connect', 0, () => this.#open());
      this.#nudge();
    };
    const shown = () => globalThis.document.visibilityState === 'visible' && check();
    for (const [target, name, handler] of [[globalThis, 'online', check], [globalThis.document, 'visibilitychange', shown]]) {
      target?.addEventListener?.(name, handler);
      this.#offline.push(() => target?.removeEventListener?.(name, handler));
    }
  }

  async #token() {
    const { auth, token = auth } = this.#options;
    try {
      const given = typeof token !== 'function' ? token : token.length ? await new Promise((resolve) => token(resolve)) : await token();
      return given?.token ?? (typeof given === 'string' ? given : undefined);
    } catch (error) {
      throw new JobwsError(`the function that gets the token failed: ${error}`);
    }
  }

  async #authenticate() {
    const { auth, token = auth } = this.#options;
    if (typeof token !== 'function') return;
    try {
      this.emit('authenticate', { token: await this.#token() });
    } catch (error) {
      this.#stop(error);
    }
  }

  // ---- what comes ----

  #take(frame) {
    const { event, data, ref } = frame;
    const call = this.#calls.get(ref);
    if (event === 'pong' && this.transport === 'websocket') this.#forget('silence');
    if (this.transport !== 'websocket') this.#listenFor(STREAM_SILENCE);
    const ours = this.#rooms.receive(frame, performance.now());
    if (ref !== undefined) {
      this.#calls.delete(ref);
      call?.resolve(event === 'error' ? { error: data } : data);
    } else if (!ours && !['ack', 'pong'].includes(event)) {
      if (event === 'expiring') this.#authenticate();
      this.fire(event, data);
    }
    if (this.#logs) this.#resumeLogs(frame, call);
    this.#nudge();
  }

  /** The next connection asks for what came behind the last line, or the cursor of an `ack` or a `pong` [L5]. */
  #resumeLogs({ event, data, ref, id }, call) {
    const asked = this.#standing.get('subscribe-logs');
    if (!asked || this.#calls.has(asked.ref)) return; // what comes until its answer is another one's
    if (ref === asked.ref && !call) {
      // Nobody sees the answers to what was asked again.
      if (data.gap) this.fire('dropped', { count: 0, approximate: true });
      if (PASSING.includes(data.code)) this.#after('logs', RETRY, () => this.#askAgain(asked));
    }
    const after = event === 'log' ? id : event === 'error' ? null : data?.cursor;
    if (!after) return;
    const { tail, ...filters } = asked.data ?? {};
    this.#standing.set('subscribe-logs', { ...asked, data: { ...filters, after } });
  }

  #askAgain(call) {
    if (this.#standing.get('subscribe-logs') !== call) return; // it is over, or another one
    this.#outgoing.push(call);
    this.#nudge();
  }
}

const BAD_ID = 'a job id is a text of 1 to 512 bytes, or an integer';
function asId(jobId) {
  if (typeof jobId === 'string' && jobId) return jobId;
  return Number.isSafeInteger(jobId) ? String(jobId) : null;
}

/** A bridge's client, like socket.io-client's `io`. `url` is the bridge's, or that with `/logs` for its logs. */
export function io(url, options) {
  return typeof url === 'object' && !(url instanceof URL) && url !== null ? new Jobs(undefined, url) : new Jobs(url, options);
}
export { io as connect, io as default };
