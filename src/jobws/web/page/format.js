/** Writes numbers, times (epoch milliseconds) and durations in the viewer's language and time zone. */

const NUMBER = new Intl.NumberFormat();
const TO_SECONDS = { hour: '2-digit', minute: '2-digit', second: '2-digit' };
const CLOCK = new Intl.DateTimeFormat(undefined, TO_SECONDS);
const EXACT = new Intl.DateTimeFormat(undefined, { ...TO_SECONDS, fractionalSecondDigits: 3 });
const DAY = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });

/** What stands where nothing is known. */
export const NOTHING = '–';

export const number = (value) => (typeof value === 'number' ? NUMBER.format(value) : NOTHING);

/** Returns a number that fits into five characters. */
export const short = (value) =>
  value < 10000 ? number(value) : value < 999500 ? `${Math.round(value / 1000)}k` : `${(value / 1e6).toFixed(1)}M`;

export function duration(milliseconds) {
  if (typeof milliseconds !== 'number' || !Number.isFinite(milliseconds)) return NOTHING;
  const ms = Math.max(0, milliseconds);
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Returns the time of day, after the date if that is not today. */
export function time(at) {
  if (!at) return NOTHING;
  const date = new Date(at);
  const clock = CLOCK.format(date);
  return date.toDateString() === new Date().toDateString() ? clock : `${DAY.format(date)}, ${clock}`;
}

/** Returns the time of day with milliseconds. */
export const exact = (at) => EXACT.format(new Date(at));

/** Returns the date and the time with the time zone. */
export const whole = (at) => (at ? WHOLE.format(new Date(at)) : '');

/** Returns a value as one line of at most `length` characters. */
export function line(value, length = 200) {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
