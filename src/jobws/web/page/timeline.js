/** The life of a job: when it waited and when it ran, as a bar and as a list. Times are epoch milliseconds. */

import { h, say } from './dom.js';
import { duration, exact, line, number, whole } from './format.js';

const RUNNING = 'active';
const STATE_OF = {
  added: 'waiting',
  waiting: 'waiting',
  delayed: 'delayed',
  prioritized: 'waiting',
  'waiting-children': 'children',
  active: RUNNING,
};
const WORDS = { waiting: 'waited', delayed: 'delayed', children: 'waited for children', active: 'ran' };
const QUIET = ['progress', 'job-log', 'added', 'duplicated'];
const MOST = 200;

/** Returns `{node, take(event, data, at), draw(job, now)}`, which keeps the events of one job and shows them. */
export function Timeline() {
  const marks = []; // the last MOST
  let cut = false; // whether there were more
  const bar = h('div.life', { role: 'img' });
  const sums = h('p.sums');
  const list = h('ol.events');
  const node = h('div.timeline', {}, bar, sums, list);

  /** Returns the stretches of time: `{state, from, to}`; the last one has no `to` while the job has not ended. */
  function stretches(job) {
    const found = [];
    const known = marks.filter(({ event }) => STATE_OF[event] || ['completed', 'failed', 'removed'].includes(event));
    if (job.timestamp && (!known.length || (job.processedOn && !known.some(({ event }) => event === RUNNING)))) {
      // The stream no longer has the beginning, but the job's own times tell the last attempt.
      const { timestamp, processedOn, finishedOn } = job;
      const present = !finishedOn && STATE_OF[job.state];
      found.push({ state: (!processedOn && present) || 'waiting', from: timestamp, to: processedOn });
      if (processedOn) found.push({ state: present || RUNNING, from: processedOn, to: finishedOn });
      return found;
    }
    for (const { event, at } of known) {
      const last = found.at(-1);
      const state = STATE_OF[event];
      if (last && !last.to && last.state !== state) last.to = at;
      if (state && (!last || last.state !== state || last.to))
        found.push({ state, from: last ? at : Math.min(cut ? at : (job.timestamp ?? at), at) });
    }
    return found.filter(({ from, to }) => to !== from);
  }

  function events() {
    const shown = marks.filter(({ event }) => !QUIET.includes(event));
    list.replaceChildren(
      ...shown.map(({ event, data, at }, index) =>
        h(
          'li',
          { 'data-state': STATE_OF[event] ?? event },
          h('time', { title: whole(at) }, exact(at)),
          h('span.event', {}, event),
          h('span.delta', {}, index ? `+${duration(at - shown[index - 1].at)}` : ''),
          h(
            'span.note-text',
            {},
            [
              index && data.prev && data.prev !== shown[index - 1].event && `after ${data.prev}`,
              data.failedReason,
            ]
              .filter(Boolean)
              .join(', '),
          ),
        ),
      ),
    );
  }

  return {
    node,
    /** Adds an event of the job, which happened at the time `at`. */
    take(event, data, at) {
      if (!at || event === 'job-log' || event === 'progress') return;
      const { prev, failedReason } = data;
      marks.push({ event, data: { prev, failedReason: failedReason && line(failedReason, 120) }, at });
      cut ||= marks.length > MOST;
      if (cut) marks.splice(0, marks.length - MOST);
      events();
    },
    /** Draws the life of the job up to the time `now`. Returns whether anything is known of it. */
    draw(job, now) {
      const all = stretches(job);
      const total = Math.max(1, ...[(all.at(-1)?.to ?? now) - (all[0]?.from ?? now)]);
      while (bar.children.length > all.length) bar.lastChild.remove();
      while (bar.children.length < all.length) bar.append(h('span', {}, h('b')));
      const sum = {};
      all.forEach(({ state, from, to }, index) => {
        const took = Math.max(0, (to ?? now) - from);
        sum[state] = (sum[state] ?? 0) + took;
        const part = bar.children[index];
        part.dataset.state = state;
        part.title = `${WORDS[state]} ${duration(took)}`;
        part.style.flexGrow = Math.max(0.004, took / total).toFixed(4);
        say(part.firstChild, took / total > 0.12 ? part.title : '');
      });
      const attempts = all.filter(({ state }) => state === RUNNING).length;
      const told = [
        ...Object.entries(WORDS).map(([state, word]) => sum[state] !== undefined && `${word} ${duration(sum[state])}`),
        attempts > 1 && `${number(attempts)} attempts`,
      ].filter(Boolean);
      say(sums, told.join(' · '));
      bar.setAttribute('aria-label', told.join(', ') || 'no times are known');
      return all.length > 0 || marks.length > 0;
    },
  };
}
