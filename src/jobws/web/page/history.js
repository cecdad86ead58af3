/** How many jobs of a queue ended per minute before the page was opened, computed from the times when its last jobs ended. */

const MINUTE = 60000;
const SPAN = 10 * MINUTE;
const STEP = 5000;
const LIMIT = 200;

/** Returns `[at, rate]` for the last ten minutes, or less if the last 200 jobs in this `state` do not reach so far. Oldest first. */
export async function rates(bridge, queue, state) {
  const { jobs, cursor } = await bridge.get('queue-jobs', { queue, state, limit: LIMIT });
  const ends = jobs.map(({ finishedOn }) => finishedOn).filter(Boolean);
  const now = bridge.now();
  // Before the oldest of a page that is not the last one, there were more ends than these.
  const known = Math.max(now - SPAN, cursor && ends.length ? Math.min(...ends) + MINUTE : 0);
  const found = [];
  for (let at = Math.ceil(known / STEP) * STEP; at < now; at += STEP)
    found.push([at, ends.filter((end) => end <= at && end > at - MINUTE).length]);
  return found;
}
