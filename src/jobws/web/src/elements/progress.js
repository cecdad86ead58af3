/** How far a job is, and how long it may still take. Workers report any JSON as `progress`. */

// The rate is that of the last half minute, so that a job which becomes slower is believed.
const WINDOW = 30000;
// Before so much of a job is done, or so long after its start, nobody can say how long it takes.
const LEAST_PERCENT = 1;
const LEAST_TIME = 1500;

const number = (value, keys) => keys.map((key) => value[key]).find((each) => Number.isFinite(each));

/** Returns the percentage that a progress means, 0 to 100: a number, or an object that has one, or counts. Null: it means none. */
export function percentOf(progress) {
  let percent = progress;
  if (progress && typeof progress === 'object') {
    const total = number(progress, ['total', 'max', 'of']);
    percent =
      number(progress, ['percent', 'percentage', 'progress']) ??
      (100 * number(progress, ['done', 'current', 'completed', 'processed', 'count', 'value'])) / total;
  }
  return Number.isFinite(percent) ? Math.min(100, Math.max(0, percent)) : null;
}

/** Returns what a progress says in words: a text, or an object's text. '': nothing. */
export function wordsOf(progress) {
  if (typeof progress === 'string') return progress;
  if (!progress || typeof progress !== 'object') return '';
  const words = ['message', 'text', 'step', 'stage', 'phase', 'status'].map((key) => progress[key]);
  return (
    words.find((each) => typeof each === 'string') ?? (percentOf(progress) === null ? JSON.stringify(progress) : '')
  );
}

/** Returns the samples `{at, percent}` of a run with a new one. Those before the window go, but one. A percentage that falls begins anew. */
export function sampled(samples, percent, at) {
  if (percent < samples.at(-1)?.percent) samples = [];
  const first = samples.findLastIndex((each) => each.at <= at - WINDOW);
  return [...samples.slice(Math.max(0, first)), { at, percent }];
}

/** Returns how many milliseconds a run may still take at the time `now`; null: nobody can say. */
export function leftAt(samples, now) {
  const [first, last] = [samples[0], samples.at(-1)];
  const [done, time] = [last?.percent - first?.percent, last?.at - first?.at];
  if (!(done >= LEAST_PERCENT && time >= LEAST_TIME)) return null;
  const left = ((100 - last.percent) * time) / done - (now - last.at);
  return left > 0 ? left : null;
}
