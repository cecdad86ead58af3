/** A progress bar, with its percentage and the time left in words. */

import { h, write } from './dom.js';
import { leftAt, percentOf, wordsOf } from './progress.js';
import { running } from './time.js';

export const PROGRESS = `
.progress { display: grid; gap: 5px; }
.progress .track { height: 6px; border-radius: 99px; overflow: hidden; background: color-mix(in srgb, var(--muted) 20%, transparent); }
.progress .fill {
  height: 100%; width: 100%; border-radius: inherit; background: var(--accent);
  transform: translateX(calc(var(--percent, 0) * 1% - 100%)); transition: transform .25s ease-out, background-color .25s;
}
.progress.good .fill { background: var(--good); }
.progress.bad .fill { background: var(--bad); }
.progress .words { display: flex; gap: 4px 12px; flex-wrap: wrap; font-size: 12.5px; color: var(--muted); font-variant-numeric: tabular-nums; }
.progress .percent { font-weight: 600; color: var(--text); }
.progress .left { margin-inline-start: auto; }
`;

/** Returns `{node, show(job, now)}`. It is hidden for a job (job.js) without progress. */
export function ProgressBar() {
  const fill = h('div', { className: 'fill', part: 'fill' });
  const track = h(
    'div',
    {
      className: 'track',
      part: 'track',
      role: 'progressbar',
      'aria-label': 'progress',
      'aria-valuemin': 0,
      'aria-valuemax': 100,
    },
    fill,
  );
  const [percent, words, left] = ['percent', 'step', 'left'].map((className) => h('span', { className }));
  const text = h('div', { className: 'words', part: 'progress-text' }, percent, words, left);
  const node = h('div', { className: 'progress', part: 'progress', hidden: true }, track, text);
  return {
    node,
    show({ state, progress, samples }, now) {
      const said = wordsOf(progress);
      const reported = percentOf(progress);
      const completed = state === 'completed'; // then it is done, whatever the worker reported last
      const done = completed && reported !== null ? 100 : reported;
      node.hidden = done === null && (completed || !said);
      node.classList.toggle('good', completed);
      node.classList.toggle('bad', state === 'failed');
      track.hidden = done === null;
      fill.style.setProperty('--percent', done);
      track.setAttribute('aria-valuenow', Math.floor(done));
      text.hidden = completed;
      write(percent, done === null ? '' : `${Math.floor(done)} %`);
      write(words, said.slice(0, 200));
      const rest = state === 'active' ? leftAt(samples, now) : null;
      write(left, rest === null ? '' : `about ${running(Math.max(1000, rest))} left`);
    },
  };
}
