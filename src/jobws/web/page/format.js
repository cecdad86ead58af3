/** Writes numbers, times (epoch milliseconds) and durations in the viewer's language and time zone. */

import { clock, duration as written, moment } from '../src/elements/time.js';

const NUMBER = new Intl.NumberFormat();
const EXACT = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
});

/** What stands where nothing is known. */
export const NOTHING = '–';

export const number = (value) => (typeof value === 'number' ? NUMBER.format(value) : NOTHING);

/** Returns a number that fits into five characters. */
export const short = (value) =>
  value < 10000 ? number(value) : value < 999500 ? `${Math.round(value / 1000)}k` : `${(value / 1e6).toFixed(1)}M`;

export const duration = (milliseconds) => (Number.isFinite(milliseconds) ? written(milliseconds) : NOTHING);

/** Returns the time of day, after the date if that is not today. */
export const time = (at) => (at ? clock(at, Date.now()) : NOTHING);

/** Returns the time of day with milliseconds. */
export const exact = (at) => EXACT.format(new Date(at));

/** Returns the date and the time with the time zone. */
export const whole = (at) => (at ? moment(at) : '');

/** Returns a value as one line of at most `length` characters. */
export function line(value, length = 200) {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
