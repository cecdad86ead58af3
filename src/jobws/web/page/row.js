/** A row of the list of jobs. */

import { percentOf } from '../src/elements/progress.js';
import { h, mark, say } from './dom.js';
import { duration, NOTHING, number, time, whole } from './format.js';
import { ran, waited } from './model.js';
import { chip, link, LOADING } from './parts.js';

export function JobRow(job, bridge) {
  const badge = chip(job.state);
  const word = badge.lastChild;
  const [id, name] = [h('span.id', {}, job.jobId), h('span.title')];
  const bar = h('span.bar', { 'aria-hidden': 'true' }, h('i'));
  const [percent, waits, runs, tries, added] = [h('span'), h('span'), h('span'), h('span'), h('time')];
  const node = h(
    'div.job',
    {},
    h('span.state', {}, badge),
    h('a.what', { href: link(job.queue, job.jobId) }, name, id),
    h('span.progress', {}, bar, percent),
    h('span.num', { title: 'Waited' }, waits),
    h('span.num', { title: 'Ran' }, runs),
    h('span.num.tries', { title: 'Attempts' }, tries),
    h('span.num.added', {}, added),
  );
  let done = 0;
  return {
    node,
    draw() {
      const now = bridge.now();
      const state = job.state || LOADING;
      if (badge.dataset.state !== state) {
        badge.dataset.state = state;
        say(word, state);
      }
      say(name, job.name || job.jobId);
      const shows = state !== 'completed' && state !== 'waiting';
      const part = (shows && percentOf(job.progress)) || null; // BullMQ writes 0 where nothing was reported
      if (part !== done) {
        done = part;
        bar.firstChild.style.transform = `scaleX(${part / 100})`;
        mark(bar, 'none', part === null);
      }
      const words = state === 'active' && typeof job.progress === 'string' ? job.progress : '';
      say(percent, part === null ? words : `${Math.round(part)} %`);
      mark(bar, 'stopped', state === 'failed');
      say(waits, duration(waited(job, now)));
      say(runs, duration(ran(job, now)));
      const attempts = (job.attemptsMade ?? 0) + (state === 'active');
      say(tries, attempts ? number(attempts) : NOTHING);
      mark(tries, 'late', attempts > 1);
      if (say(added, time(job.timestamp))) added.title = whole(job.timestamp);
    },
  };
}
