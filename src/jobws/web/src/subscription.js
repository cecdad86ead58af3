/** One subscription to a job, and its position, across connections. Brackets: protocol.md. */

export const OUTCOMES = ['completed', 'failed', 'removed'];
/** Whether a list of event names contains `name` or `*`. */
export const wants = (events, name) => events.includes('*') || events.includes(name);

// A subscription that wants more events than this asks for `*` [S4].
const MAX_EVENTS = 32;

/** Returns a position, which is two unsigned integers, as one number, without the suffix after `~` [E4]. */
const number = (position) => ((a, b) => (BigInt(a) << 64n) + BigInt(b))(...position.split(/[-~]/));

/** Returns a short summary of an outcome, to recognise it again without keeping a large result. */
function summary(event, { returnvalue, failedReason }) {
  const text = JSON.stringify([event, returnvalue ?? failedReason]);
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (31 * hash + text.charCodeAt(i)) | 0;
  return text.length + event + hash;
}

/**
 * Makes a subscription. `Subscriptions` describes `watcher`. `after` and `lines` are positions by queue: all events up to
 * `after` have come [P3], and all log lines up to `lines` [S12]. `after` is undefined before the first ack [R4].
 */
export function Subscription(queue, jobId, watcher, after, lines) {
  // By queue: null if the job was seen without an outcome since, or else the summary and the `id` of its last outcome.
  const told = new Map();
  const self = {
    queue,
    jobId,
    watcher,
    after: after ?? undefined,
    name: null, // on this connection [P1]; null if it was not requested
    acknowledged: false,
    chosen: null, // the events in the last request; null before the first request

    /** Returns the queues in which the job was seen without an outcome since. */
    alive: () => [...told.keys()].filter((each) => !told.get(each)),

    /** Whether the job has ended in every queue in which it was seen. */
    idle: () => told.size && !self.alive().length,

    /** Gives the subscription a name, and returns its item of `subscribe-job`. */
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

    /** Forget the name, since no more frames come for it. */
    release() {
      self.name = null;
      self.acknowledged = false;
    },

    /** Take the answer. Returns the queues where the job vanished without an outcome that was delivered. */
    acknowledge(common, { jobs = [], unknown, after }) {
      const all = { ...common, ...after };
      self.acknowledged = true;
      self.after = queue === undefined ? all : { [queue]: all[queue] }; // replaces all earlier positions [P5]
      for (const { queue, state } of jobs) if (!OUTCOMES.includes(state)) told.set(queue, null);
      return unknown ? self.alive() : [];
    },

    /** Take the positions of a `pong` that are later than the own ones. Keep the suffix after `~` [P4]. */
    move(after) {
      for (const each of queue === undefined ? Object.keys(after) : [queue]) {
        const [to, from] = [after[each], self.after[each]];
        if (to && (!from || number(to) > number(from))) self.after[each] = to + (from?.match(/~.*/s) ?? '');
      }
    },

    /** Take an event. Returns whether to deliver it: not if it repeats an outcome [R4] or says that an ended job is gone. */
    take({ event, id, data }) {
      const { queue } = data;
      if (event === 'job-log') return (lines = { ...lines, [queue]: data.position });
      if (id !== undefined) self.after[queue] = id;
      const [before, at] = told.get(queue) ?? [];
      if (!OUTCOMES.includes(event)) {
        if (event !== 'progress' || !before) told.set(queue, null); // `progress` may come after the outcome
        return true;
      }
      const made = !id || id.includes('~'); // the bridge made this event from what it found in Redis
      if (before && made && event === 'removed') return false;
      const now = watcher.until || summary(event, data);
      told.set(queue, [now, id]);
      return now !== before || !(made || id === at);
    },
  };
  return self;
}
