/** The rate of a queue over the last minutes: keeps numbers, and draws them as a small line. Times are in ms. */

import { svg } from './dom.js';

const SPAN = 10 * 60000;
const STEP = 5000;
const WIDTH = 120;
const HEIGHT = 28;

/** Keeps a value for each step of the last ten minutes. A step without news has the value of the one before. */
export function Samples() {
  const kept = []; // [step, value], the oldest first
  return {
    add(at, value) {
      const step = Math.floor(at / STEP);
      if (kept.at(-1)?.[0] === step) kept.at(-1)[1] = value;
      else kept.push([step, value]);
      while (kept.length > 1 && kept[1][0] < step - SPAN / STEP) kept.shift();
    },
    /** Add `[at, value]` from before the first one, the oldest first. */
    before(found) {
      const first = kept[0]?.[0] ?? Infinity;
      kept.unshift(...found.map(([at, value]) => [Math.floor(at / STEP), value]).filter(([step]) => step < first));
    },
    /** Returns `[place, value]` for each change, where `place` is 0 for ten minutes ago and 1 for now. */
    points(now) {
      const last = now / STEP;
      const steps = SPAN / STEP;
      return kept.map(([step, value]) => [Math.max(0, 1 - (last - step) / steps), value]);
    },
  };
}

/** Returns `{node, draw(series, now)}`: an SVG element, in which `draw` draws two `Samples`, of completed and of failed jobs. */
export function Spark(label) {
  const lines = ['done', 'bad'].map((name) => [
    svg('path', { class: `area ${name}` }),
    svg('path', { class: `line ${name}` }),
  ]);
  const node = svg(
    'svg',
    {
      class: 'spark',
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: 'none',
      role: 'img',
      'aria-label': label,
    },
    ...lines.flat(),
  );
  return {
    node,
    draw(series, now) {
      const all = series.map((each) => each.points(now));
      const most = Math.max(1, ...all.flat().map(([, value]) => value));
      all.forEach((points, index) => {
        const [area, line] = lines[index];
        const at = (value) => (HEIGHT - 1.5 - (value / most) * (HEIGHT - 4)).toFixed(1);
        const drawn = points.length && (index === 0 || points.some(([, value]) => value));
        let path = '';
        points.forEach(([place, value], each) => {
          const x = (place * WIDTH).toFixed(1);
          path += each ? `H${x}V${at(value)}` : `M${x} ${at(value)}`;
        });
        if (drawn) path += `H${WIDTH}`;
        line.setAttribute('d', drawn ? path : '');
        area.setAttribute('d', drawn ? `${path}V${HEIGHT}H${(points[0][0] * WIDTH).toFixed(1)}Z` : '');
      });
    },
  };
}
