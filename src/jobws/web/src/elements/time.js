/** Durations and times as people read them. Times are epoch milliseconds, durations milliseconds. */

const UNITS = [
  ['d', 86400000],
  ['h', 3600000],
  ['min', 60000],
  ['s', 1000],
];

/** Returns a duration as text: `40 ms`, `1.3 s`, `42 s`, `2 min 5 s`, `3 h`. A negative one, of clocks that differ, is 0. */
export function duration(milliseconds) {
  const rest = Math.max(0, Math.round(milliseconds));
  if (rest < 1000) return `${rest} ms`;
  if (rest < 10000) return `${(Math.floor(rest / 100) / 10).toFixed(1)} s`;
  const at = UNITS.findIndex(([, size]) => rest >= size);
  const [name, size] = UNITS[at];
  const [smaller, part] = UNITS[at + 1] ?? ['', size];
  const more = Math.floor((rest % size) / part);
  return `${Math.floor(rest / size)} ${name}${more ? ` ${more} ${smaller}` : ''}`;
}

/** The same in whole seconds, for a duration that grows on the screen. */
export const running = (milliseconds) =>
  milliseconds < 10000 ? `${Math.floor(Math.max(0, milliseconds) / 1000)} s` : duration(milliseconds);

const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit' };
const DAY = { day: 'numeric', month: 'short' };
const formats = new Map(); // since making one takes milliseconds

function write(time, options) {
  if (!formats.has(options)) formats.set(options, new Intl.DateTimeFormat([], options));
  return formats.get(options).format(time);
}

/** Returns the time of day in the viewer's time zone, with the day if that is not the one of `now`. */
export function clock(time, now = time) {
  const day = write(time, DAY);
  return `${day === write(now, DAY) ? '' : `${day}, `}${write(time, CLOCK)}`;
}

const MOMENT = { ...DAY, ...CLOCK, year: 'numeric', timeZoneName: 'short' };

/** Returns the date and time in the viewer's time zone, with its name. */
export const moment = (time) => write(time, MOMENT);
