/** One subscription, across connections: how far it has come. Rules in brackets: protocol.md. */

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

export class Subscription {
  name = null; // on this connection [P1]; null: it is not asked for
  acknowledged = false;
  chosen = null; // the events that it was asked for; null: it never was
  seen = new Set(); // queues in which the job was seen, and no outcome told since
  #told = {}; // by queue: the last outcome, and its `id`

  /**
   * `watcher`: see `Subscriptions`. `after` and `lines` are positions by queue: everything up to there has come [P3], and
   * all log lines [S12]; `after` is null until it was acknowledged once [R4].
   */
  constructor(queue, jobId, watcher, after = null, lines = {}) {
    Object.assign(this, { queue, jobId, watcher, after, lines });
  }

  /** Its outcome was told, and nothing is expected of it. */
  get idle() {
    return !this.seen.size && Object.keys(this.#told).length > 0;
  }

  /** The item of `subscribe-job`. */
  item(name) {
    const { jobId, queue, lines, watcher } = this;
    const events = new Set([...OUTCOMES, ...watcher.events]);
    this.name = name;
    this.chosen = events.has('*') || events.size > MAX_EVENTS ? ['*'] : [...events];
    return {
      sub: name,
      jobId,
      queue,
      events: events.size > OUTCOMES.length ? this.chosen : undefined,
      until: watcher.until ? 'end' : undefined,
      after: this.after ?? undefined,
      logs: watcher.logs ? !Object.keys(lines).length || { after: lines } : undefined,
    };
  }

  /** Nothing comes by its name any more. */
  leave() {
    this.name = null;
    this.acknowledged = false;
  }

  /** Take its answer; returns the queues from which the job vanished while nobody was told. */
  acknowledge(common, { jobs = [], unknown, after }) {
    const { queue: own, seen } = this;
    const all = { ...common, ...after };
    this.acknowledged = true;
    this.after = own === undefined ? all : { [own]: all[own] }; // whatever it was [P5]
    for (const { queue, state } of jobs) if (state !== 'completed' && state !== 'failed') seen.add(queue);
    return unknown ? [...seen] : [];
  }

  /** Take the positions of a `pong`, as far as they are later; what follows `~` stays [P4]. */
  move(after) {
    for (const queue of this.queue === undefined ? Object.keys(after) : [this.queue]) {
      const [to, from] = [after[queue], this.after[queue]];
      if (to && (!from || later(to, from))) this.after[queue] = to + (from?.match(/~.*/s)?.[0] ?? '');
    }
  }

  /** Take a `gap`; its positions may be those of another stream [R6]. */
  interrupt({ queue, reason }) {
    if (reason !== 'trimmed') this.after[queue] = '0-0';
  }

  /** Take an event; whether it is news: not the outcome that was told, once more [R4]. */
  take({ event, id, data }) {
    const { queue } = data;
    const outcome = OUTCOMES.includes(event);
    if (event === 'job-log') this.lines[queue] = data.position;
    else if (id !== undefined) this.after[queue] = id;
    this.seen[outcome ? 'delete' : 'add'](queue);
    if (!outcome && event !== 'progress' && event !== 'job-log') delete this.#told[queue];
    if (!outcome || this.watcher.until) return true;
    const [before, at] = this.#told[queue] ?? [];
    const now = summary(event, data);
    this.#told[queue] = [now, id];
    return now !== before || (id !== at && !id?.includes('~'));
  }
}
