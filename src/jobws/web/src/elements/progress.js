/** How far a job is, and how long it may still take. Workers report any JSON as `progress`. */

// The time left is estimated from so many milliseconds, so that it soon follows a job that becomes slower.
const WINDOW = 30000;
// With less progress than this (in percent), or less time (in milliseconds), nobody can say how long the job takes.
const LEAST_PERCENT = 1;
const LEAST_TIME = 1500;

const DONE = ['done', 'current', 'completed', 'processed', 'count', 'value'];
const TOTAL = ['total', 'max', 'of'];
const number = (value, keys) => keys.map((key) => value[key]).find((each) => Number.isFinite(each));

/**
 * Returns a progress as a percentage, 0 to 100; null if it is none. It is one if it is a number, or an object with a number in a key
 * such as `percent`, or with two counts, such as `done` and `total`.
 */
export function percentOf(progress) {
  let percent = progress;
  if (progress && typeof progress === 'object') {
    percent =
      number(progress, ['percent', 'percentage', 'progress']) ??
      (100 * number(progress, DONE)) / number(progress, TOTAL);
  }
  return Number.isFinite(percent) ? Math.min(100, Math.max(0, percent)) : null;
}

/** Returns a value in one word: of a list how many items it has, of an object only that it is one. */
const inShort = (value) =>
  value === null || typeof value !== 'object' ? value : Array.isArray(value) ? `[${value.length}]` : '{…}';

/**
 * Returns what a progress says in words, or '' if it says nothing: itself if it is a text, a text in a key such as `message`, the
 * two counts that make it a percentage, or, if it is none, all that it holds, in which lists and objects are not written out.
 */
export function wordsOf(progress) {
  if (typeof progress === 'string') return progress;
  if (!progress || typeof progress !== 'object') return '';
  const words = ['message', 'text', 'step', 'stage', 'phase', 'status'].map((key) => progress[key]);
  const text = words.find((each) => typeof each === 'string');
  if (text !== undefined) return text;
  const [done, total] = [number(progress, DONE), number(progress, TOTAL)];
  if (done !== undefined && total !== undefined) return `${done.toLocaleString()} of ${total.toLocaleString()}`;
  if (percentOf(progress) !== null) return '';
  return Array.isArray(progress)
    ? progress.map(inShort).join(', ')
    : Object.entries(progress)
        .map(([key, value]) => `${key}: ${inShort(value)}`)
        .join(', ');
}

/**
 * Returns the samples `{at, percent}` of a run, and a new one. Of those that are older than WINDOW only the last one stays. If the
 * percentage has fallen, the samples begin anew.
 */
export function sampled(samples, percent, at) {
  if (percent < samples.at(-1)?.percent) samples = [];
  const first = samples.findLastIndex((each) => each.at <= at - WINDOW);
  return [...samples.slice(Math.max(0, first)), { at, percent }];
}

/**
 * Returns the first samples of a run that a snapshot tells of at the time `now`: its begin and its progress; none if it is a further
 * attempt, since its progress may be that of the one before.
 */
export function firstSamples({ state, at, attemptsMade, processedOn, progress }, now) {
  const percent = percentOf(progress);
  const began = now - (Number.parseInt(at, 10) - processedOn);
  return state === 'active' && percent && !attemptsMade && began < now
    ? [
        { at: began, percent: 0 },
        { at: now, percent },
      ]
    : [];
}

/** Returns how many milliseconds a run may still take at the time `now`; null: nobody can say. */
export function leftAt(samples, now) {
  const [first, last] = [samples[0], samples.at(-1)];
  const [done, time] = [last?.percent - first?.percent, last?.at - first?.at];
  if (!(done >= LEAST_PERCENT && time >= LEAST_TIME)) return null;
  const left = ((100 - last.percent) * time) / done - (now - last.at);
  return left > 0 ? left : null;
}
