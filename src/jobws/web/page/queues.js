/** What is known of each queue: its numbers, which the bridge tells while they change, and its rate until now. */

import { rates } from './history.js';
import { Samples } from './spark.js';

const LOOK_AGAIN = 60000;
const MANY = 30;

/** Keeps the queues. Calls `changed(queue)` after the numbers of a queue changed, and `changed()` after one has come or gone. */
export function Queues(bridge, changed) {
  const all = new Map();
  let timer;
  let asked = 0;

  function known(label) {
    let queue = all.get(label);
    if (!queue) {
      queue = { label, stats: null, statsAt: 0, about: {}, done: Samples(), bad: Samples() };
      all.set(label, queue);
      changed();
      before(queue);
    }
    return queue;
  }

  /** Adds the rates of the minutes before the page was opened. */
  async function before(queue) {
    // Each of very many queues would cost two requests.
    if (all.size > MANY || !bridge.rights.may('read:jobs', queue.label)) return;
    for (const [samples, state] of [
      [queue.done, 'completed'],
      [queue.bad, 'failed'],
    ])
      await rates(bridge, queue.label, state).then(
        (found) => samples.before(found),
        () => {},
      );
    changed(queue);
  }

  function take(queue, stats) {
    queue.stats = { ...queue.stats, ...stats };
    queue.statsAt = Date.now();
    queue.done.add(queue.statsAt, stats.completedPerMinute ?? 0);
    queue.bad.add(queue.statsAt, stats.failedPerMinute ?? 0);
    changed(queue);
  }

  /** Reads the list of queues. It says which queues the bridge cannot read, and has the first numbers of each. */
  async function look() {
    clearTimeout(timer);
    const round = ++asked;
    const found = new Set();
    try {
      if (bridge.rights.may('read:queues'))
        for (let cursor; cursor !== null;) {
          const page = await bridge.get('queues', { limit: 200, cursor });
          if (round !== asked) return;
          for (const { queue: label, ...stats } of page.queues) {
            found.add(label);
            const queue = known(label);
            queue.about = { problem: stats.problem, found: stats.found };
            if (!queue.stats || queue.stats.counts === undefined || Date.now() - queue.statsAt > 3000)
              take(queue, stats);
            else changed(queue);
          }
          cursor = page.cursor;
        }
      for (const label of bridge.rights.queues) (found.add(label), known(label));
      for (const label of [...all.keys()]) if (!found.has(label)) (all.delete(label), changed());
    } catch {
      // The connection says what is wrong, and this is tried again.
    }
    timer = setTimeout(() => (document.hidden ? later() : look()), LOOK_AGAIN);
  }

  function later() {
    timer = setTimeout(look, LOOK_AGAIN);
  }

  return {
    all,
    get: (label) => all.get(label),
    sorted: () => [...all.values()].sort((a, b) => (a.label < b.label ? -1 : 1)),
    begin() {
      all.clear();
      changed();
      look();
      if (bridge.rights.may('read:queues'))
        bridge.follow('*', ['queue-stats'], (event, data) => event === 'queue-stats' && take(known(data.queue), data));
    },
  };
}
