/** The time by the clock of Redis, as far as events tell it. Times are epoch milliseconds. */

const WINDOW = 60000;

/** Returns `{now(), note(id, live)}`. `note` takes the position of an event; `live`: it has happened just now. */
export function Clock() {
  let ahead = 0; // how far the clock of Redis is ahead of the viewer's
  let best = -Infinity; // the same, from the events of the present window
  let end = 0; // of the window
  return {
    now: () => Date.now() + ahead,
    note(id, live) {
      const now = Date.now();
      const seen = Number.parseInt(id, 10) - now; // less, the longer the event was on its way
      ahead = Math.max(ahead, seen);
      if (!live) return;
      best = Math.max(best, seen);
      if (now < end) return;
      [ahead, best, end] = [best, -Infinity, now + WINDOW];
    },
  };
}
