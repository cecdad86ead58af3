/** One subscription, across connections: how far it has come. Rules in brackets: protocol.md. */

export const OUTCOMES = ['completed', 'failed', 'removed'];
/** Whether a list of events has that one. */
export const wants = (events, name) => events.includes('*') || events.includes(name);

// Names of more events than a subscription may have are asked for as `*` [S4].
const MAX_EVENTS = 32;

/** A position as a number, which has two unsigned integers, without what follows `~` [E4]. */
const number = (position) => ((a, b) => (BigInt(a) << 64n) + BigInt(b))(...position.split(/[-~]/));

/** What tells one outcome from another, without keeping a large result. */
function summary(event, { returnvalue, failedReason }) {
  const text = JSON.stringify([event, returnvalue ?? failedReason]);
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (31 * hash + text.charCodeAt(i)) | 0;
  return text.length + event + hash;
}

/**
 * `watcher`: see `Subscriptions`. `after` and `lines` are positions by queue: everything up to there has come [P3], and all
 * log lines [S12]; `after` is undefined until it was acknowledged once [R4].
 */
export function Subscription(queue, jobId, watcher, after, lines) {
  // By queue: null, the job was seen, and no outcome told since; or what tells its last outcome from others, and its `id`.
  const told = new Map();
  const self = {
    queue,
    jobId,
    watcher,
    after: after ?? undefined,
    name: null, // on this connection [P1]; null: it is not asked for
    acknowledged: false,
    chosen: null, // the events that it was asked for; null: it never was

    /** The queues in which the job was seen, and no outcome told since. */
    alive: () => [...told.keys()].filter((each) => !told.get(each)),

    /** Its outcome was told, and nothing is expected of it. */
    idle: () => told.size && !self.alive().length,

    /** The item of `subscribe-job`. */
    item(name) {
      const events = new Set([...OUTCOMES, ...watcher.events]);
      self.name = name;
      self.chosen = events.has('*') || events.size > MAX_EVENTS ? ['*'] : [...events];
      return {
        sub: name,
        jobId,
        queue,
        events: events.size > OUTCOMES.length ? self.chosen : undefined,
        until: watcher.until ? 'end' : undefined,
        after: self.after,
        logs: watcher.logs ? !lines || { after: lines } : undefined,
      };
    },

    /** Nothing comes by its name any more. */
    release() {
      self.name = null;
      self.acknowledged = false;
    },

    /** Take its answer; returns the queues from which the job vanished while nobody was told. */
    acknowledge(common, { jobs = [], unknown, after }) {
      const all = { ...common, ...after };
      self.acknowledged = true;
      self.after = queue === undefined ? all : { [queue]: all[queue] }; // whatever it was [P5]
      for (const { queue, state } of jobs) if (!OUTCOMES.includes(state)) told.set(queue, null);
      return unknown ? self.alive() : [];
    },

    /** Take the positions of a `pong`, as far as they are later; what follows `~` stays [P4]. */
    move(after) {
      for (const each of queue === undefined ? Object.keys(after) : [queue]) {
        const [to, from] = [after[each], self.after[each]];
        if (to && (!from || number(to) > number(from))) self.after[each] = to + (from?.match(/~.*/s) ?? '');
      }
    },

    /** Take an event; whether it is news: not the outcome that was told, once more [R4], nor that its job is gone by now. */
    take({ event, id, data }) {
      const { queue } = data;
      if (event === 'job-log') return (lines = { ...lines, [queue]: data.position });
      if (id !== undefined) self.after[queue] = id;
      const [before, at] = told.get(queue) ?? [];
      if (!OUTCOMES.includes(event)) {
        if (event !== 'progress' || !before) told.set(queue, null); // it may come after the outcome
        return true;
      }
      const made = !id || id.includes('~'); // by the bridge, of what it finds in Redis
      if (before && made && event === 'removed') return false;
      const now = watcher.until || summary(event, data);
      told.set(queue, [now, id]);
      return now !== before || !(made || id === at);
    },
  };
  return self;
}
