/** One subscription to a job, and its position, across connections. Brackets name rules of protocol.md. */

export const OUTCOMES = ['completed', 'failed', 'removed'];
/** Whether a list of event names contains `name` or `*`. */
export const wants = (events, name) => events.includes('*') || events.includes(name);

const MAX_EVENTS = 32; // a subscription that wants more asks for `*` [S4]

/**
 * Makes a subscription. `Subscriptions` describes `watcher`. `after` and `lines` are positions by queue: all events up to
 * `after` have come [P3], and all log lines up to `lines` [S12]. `after` is undefined before the first ack [R4].
 */
export function Subscription(queue, jobId, watcher, after, lines) {
  const seen = new Map(); // by queue, whether the job was seen without an outcome since
  const self = {
    queue,
    jobId,
    watcher,
    anywhere: queue === undefined || watcher.children, // its frames may be of any queue
    after: after ?? undefined,
    name: null, // on this connection [P1]; null if it was not requested
    acknowledged: false,
    chosen: null, // the events in the last request; null before the first request

    /** Returns the queues in which the job was seen without an outcome since. */
    alive: () => [...seen.keys()].filter((each) => seen.get(each)),
    /** Whether the job has ended in every queue in which it was seen. */
    idle: () => seen.size && !self.alive().length,

    /** Returns the item of `subscribe-job`. */
    item() {
      const events = new Set([...OUTCOMES, ...watcher.events]);
      self.chosen = events.has('*') || events.size > MAX_EVENTS ? ['*'] : [...events];
      return {
        sub: self.name,
        jobId,
        queue,
        events: events.size > OUTCOMES.length ? self.chosen : undefined,
        until: watcher.until ? 'end' : undefined,
        after: self.after,
        logs: watcher.logs ? !lines || { after: lines } : undefined,
        children: watcher.children || undefined,
      };
    },

    /** Take the answer. Returns the queues where the job vanished without an outcome that was delivered. */
    acknowledge({ jobs = [], unknown }) {
      for (const { queue, state } of jobs) if (!OUTCOMES.includes(state)) seen.set(queue, true);
      return unknown ? self.alive() : [];
    },

    /** Whether a `gap` concerns this subscription [R6]. */
    concerns: ({ queue, jobs }) => watcher.children || ((self.queue ?? queue) === queue && (jobs?.includes(jobId) ?? true)),

    /** Take an event. */
    take({ event, parent, data: { queue, position } }) {
      if (event === 'job-log') return (lines = { ...lines, [queue]: position });
      // `progress` may come after the outcome, and a frame about a job below says nothing of this one [S13].
      if (!parent && event !== 'gap' && (event !== 'progress' || !seen.has(queue))) seen.set(queue, !OUTCOMES.includes(event));
    },
  };
  return self;
}
