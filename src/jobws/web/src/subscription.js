/** One subscription, across connections: for whom it is, and how far it has come. Rules in brackets: protocol.md. */

export const OUTCOMES = ['completed', 'failed', 'removed'];
// Names of more events than a subscription may have are asked for as `*` [S4].
const MAX_EVENTS = 32;

const digits = (a, b) => a.length - b.length || (a > b) - (a < b);

/** Whether a position is later than another one: two unsigned integers, without what follows `~` [E4]. */
function later(position, than) {
  const [a, b] = [position.split(/[-~]/), than.split(/[-~]/)];
  return (digits(a[0], b[0]) || digits(a[1], b[1])) > 0;
}

/** What tells one outcome from another, without keeping a large result. */
function summary(event, { returnvalue, failedReason }) {
  const text = JSON.stringify([event, returnvalue ?? failedReason]);
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (31 * hash + text.charCodeAt(i)) | 0;
  return `${text.length} ${hash}`;
}

/**
 * A watcher has `events` (beside outcomes), `logs`, `forever` (also after an outcome), `gaps` (true: of all, 'own': those
 * of this subscription alone), `strict` (no such job: it is refused), and `deliver`, `refuse`, `answer` to be called.
 */
export class Subscription {
  watchers = new Set();
  name = null; // on this connection [P1]; null: it is not asked for
  acknowledged = false;
  chosen = null; // the events that it was asked for; null: it never was
  until = false; // it was asked for up to the outcome [S5]
  after; // by queue: everything up to there has come [P3]; null: it was never acknowledged [R4]
  lines; // the same for log lines [S12]
  #seen = new Set(); // queues in which the job was seen, and no outcome told since
  #told = {}; // by queue: the last outcome, and its `id`

  constructor(queue, jobId, after = null, lines = {}) {
    Object.assign(this, { queue, jobId, after, lines });
  }

  /** Its outcome was told, and nothing is expected of it. */
  get idle() {
    return !this.#seen.size && Object.keys(this.#told).length > 0;
  }

  /** Whether a watcher gets here what a subscription of its own would bring. */
  takes({ events, logs, strict }) {
    if (!this.chosen) return true;
    // A look-up that is under way may be of before a job was added.
    if (logs || (this.acknowledged ? !this.#seen.size : this.after || strict)) return false;
    return this.chosen[0] === '*' || events.every((name) => this.chosen.includes(name));
  }

  /** The item of `subscribe-job`. */
  item(name) {
    const { jobId, queue, after, lines } = this;
    const watchers = [...this.watchers];
    const events = new Set(OUTCOMES);
    for (const watcher of watchers) for (const event of watcher.events) events.add(event);
    this.chosen = events.has('*') || events.size > MAX_EVENTS ? ['*'] : [...events];
    this.until = !watchers.some(({ forever }) => forever);
    this.name = name;
    const item = { sub: name, jobId, queue };
    if (events.size > OUTCOMES.length) item.events = this.chosen;
    if (this.until) item.until = 'end';
    if (after) item.after = after;
    if (watchers.some(({ logs }) => logs)) item.logs = Object.keys(lines).length ? { after: lines } : true;
    return item;
  }

  /** Take its answer; returns the queues from which the job vanished while nobody was told. */
  acknowledge(common, { jobs = [], unknown, after }) {
    this.acknowledged = true;
    const all = { ...common, ...after };
    this.after = this.queue === undefined ? all : { [this.queue]: all[this.queue] }; // whatever it was [P5]
    for (const { queue, state } of jobs) if (state !== 'completed' && state !== 'failed') this.#seen.add(queue);
    return unknown ? [...this.#seen] : [];
  }

  /** Nothing comes by its name any more. */
  leave() {
    this.name = null;
    this.acknowledged = false;
  }

  /** Take the positions of a `pong`, as far as they are later; what follows `~` stays [P4]. */
  move(after) {
    for (const queue of this.queue === undefined ? Object.keys(after) : [this.queue]) {
      const [to, from] = [after[queue], this.after[queue]];
      if (to && (!from || later(to, from))) this.after[queue] = to + (from?.match(/~.*/s)?.[0] ?? '');
    }
  }

  /** Take a `gap`, if it concerns this one; it may be of another stream, whose positions say nothing [R6]. */
  interrupt({ queue, reason, jobs }, own) {
    if (!this.acknowledged || (this.queue ?? queue) !== queue || (!own && jobs && !jobs.includes(this.jobId))) return false;
    if (reason !== 'trimmed') this.after[queue] = '0-0';
    return true;
  }

  /** Take an event; whether it is news to those who stay: not the outcome that they had, once more [R4]. */
  take({ event, id, data }) {
    const { queue } = data;
    if (event === 'job-log') {
      this.lines[queue] = data.position;
      return true;
    }
    if (id !== undefined) this.after[queue] = id;
    if (!OUTCOMES.includes(event)) {
      this.#seen.add(queue);
      if (event !== 'progress') delete this.#told[queue];
      return true;
    }
    this.#seen.delete(queue);
    if (this.until) return true;
    const [before, at] = this.#told[queue] ?? [];
    const now = summary(event, data);
    this.#told[queue] = [now, id];
    return now !== before || (id !== at && !id?.includes('~'));
  }

  /** `news`: to those who stay, too. `own`: a `gap` of this subscription alone. */
  hand(frame, news = true, own = false) {
    const outcome = OUTCOMES.includes(frame.event);
    for (const watcher of [...this.watchers]) {
      if (!news && watcher.forever) continue;
      if (outcome && !watcher.forever) this.watchers.delete(watcher);
      if (outcome || wants(watcher, frame.event, own)) watcher.deliver(frame);
    }
  }
}

function wants({ events, logs, gaps }, name, own) {
  if (name === 'gap') return own ? gaps : gaps === true;
  return name === 'job-log' ? logs : events.includes('*') || events.includes(name);
}
