/** The view of all queues: their counts as they change, their rate, and what is wrong with them. */

import { h, mark, perFrame, say, whileVisible } from './dom.js';
import { duration, NOTHING, number, short } from './format.js';
import { Spark } from './spark.js';
import { missing, queueLink } from './parts.js';

const STATES = ['waiting', 'active', 'delayed', 'completed', 'failed'];
const RARE = ['prioritized', 'waiting-children']; // they have no column, but a note where there are such jobs

export function Overview({ bridge, queues, onQueues }) {
  const rows = new Map();
  const list = h('div.queues', { role: 'table', 'aria-label': 'Queues' });
  const head = h(
    'div.head',
    { role: 'row' },
    ...[
      'Queue',
      ...STATES.map((each) => each[0].toUpperCase() + each.slice(1)),
      'Last 10 minutes',
      'Per minute',
      'Oldest waiting',
      'Workers',
    ].map((each) => h('span', { role: 'columnheader' }, each)),
  );
  const empty = h(
    'p.empty',
    { hidden: true },
    'There is no queue yet. One appears here as soon as somebody adds a job to it.',
  );
  const node = h(
    'section.view',
    {},
    h('h1', {}, 'Queues'),
    missing(bridge, 'read:queues', 'the numbers of queues'),
    list,
    empty,
  );
  const dirty = new Set();
  let others = true; // whether there may be other queues than those in `rows`
  const draw = perFrame(() => {
    if (others) build();
    for (const queue of dirty) rows.get(queue.label)?.draw();
    dirty.clear();
  });
  // A bridge may have a thousand queues. Lines are drawn for those in sight.
  const inSight = new Set();
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? inSight.add(target) : inSight.delete(target);
    tick();
  });
  const tick = () => rows.forEach((row) => inSight.has(row.node) && row.tick());

  function build() {
    others = false;
    const sorted = queues.sorted();
    for (const [label, { queue, node: row }] of rows)
      if (queues.get(label) !== queue) {
        sight.unobserve(row);
        rows.delete(label);
      }
    for (const queue of sorted)
      if (!rows.has(queue.label)) {
        const row = Row(queue);
        rows.set(queue.label, row);
        sight.observe(row.node);
        row.draw();
      }
    list.replaceChildren(head, ...sorted.map(({ label }) => rows.get(label).node));
    empty.hidden = sorted.length > 0;
    list.hidden = !sorted.length;
  }

  const leave = onQueues((queue) => {
    if (queue) dirty.add(queue);
    else others = true;
    draw();
  });
  build();
  const stop = whileVisible(tick, 1000);
  return {
    node,
    title: 'Queues',
    close() {
      leave();
      stop();
      draw.stop();
      sight.disconnect();
    },
  };
}

function Row(queue) {
  const place = queueLink(queue.label);
  const counts = STATES.map((state) => h(`a.count.${state}`, { href: `${place}?state=${state}` }));
  const rare = RARE.map((state) => h('a.note', { href: `${place}?state=${state}` }));
  const spark = Spark(`Jobs of ${queue.label} that completed and failed per minute`);
  const [rate, oldest, workers, notes] = [h('span'), h('span'), h('span'), h('span.notes')];
  const cell = (name, ...children) => h(`span.${name}`, { role: 'cell' }, ...children);
  const node = h(
    'div.row',
    { role: 'row' },
    cell('name', h('a', { href: place }, queue.label), notes),
    ...counts.map((each, index) => cell('figure', h('small', {}, STATES[index]), each)),
    cell('rate-line', spark.node),
    cell('figure', h('small', {}, 'per minute'), rate),
    cell('figure', h('small', {}, 'oldest'), oldest),
    cell('figure', h('small', {}, 'workers'), workers),
  );

  function tick() {
    const { oldestWaitingSeconds } = queue.stats ?? {};
    const waited =
      typeof oldestWaitingSeconds === 'number' ? oldestWaitingSeconds * 1000 + Date.now() - queue.statsAt : null;
    say(oldest, waited === null ? NOTHING : duration(Math.ceil(waited / 1000) * 1000));
    mark(oldest, 'late', waited > 60000);
    spark.draw([queue.done, queue.bad], Date.now());
  }

  return {
    queue,
    node,
    tick,
    draw() {
      const { counts: now, completedPerMinute, failedPerMinute, workers: there, paused } = queue.stats ?? {};
      STATES.forEach((state, index) => {
        const total = now?.[state];
        const element = counts[index];
        const before = element.textContent;
        if (say(element, now ? short(total) : NOTHING) && before) pulse(element);
        element.title = now ? `${number(total)} ${state}` : '';
        mark(element, 'zero', !total);
      });
      RARE.forEach((state, index) => {
        rare[index].hidden = !now?.[state];
        say(rare[index], `${number(now?.[state])} ${state}`);
      });
      say(
        rate,
        completedPerMinute === null || completedPerMinute === undefined
          ? NOTHING
          : number(completedPerMinute + (failedPerMinute ?? 0)),
      );
      say(workers, there === null || there === undefined ? NOTHING : number(there));
      const waiting = now && now.waiting + now.prioritized + now.delayed > 0;
      const problems = [
        queue.about.problem && ['bad', queue.about.problem],
        queue.about.found === false && ['quiet', 'no job yet'],
        paused && ['warn', 'paused'],
        there === 0 && waiting && ['warn', 'no worker'],
      ].filter(Boolean);
      const text = JSON.stringify(problems);
      if (notes.dataset.text !== text) {
        notes.dataset.text = text;
        notes.replaceChildren(...rare, ...problems.map(([kind, each]) => h(`span.note.${kind}`, {}, each)));
      }
    },
  };
}

/** Show for a moment that a number has changed. */
function pulse(element) {
  element.getAnimations?.().forEach((each) => each.cancel());
  if (!matchMedia('(prefers-reduced-motion: reduce)').matches)
    element.animate?.([{ backgroundColor: 'var(--flash)' }, { backgroundColor: 'transparent' }], {
      duration: 700,
      easing: 'ease-out',
    });
}
