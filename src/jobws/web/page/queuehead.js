/** The head of all views of one queue: its name, what is wrong with it, and its other views. */

import { act } from './actions.js';
import { h, mark, say } from './dom.js';
import { duration, number } from './format.js';
import { queueLink } from './parts.js';

const VIEWS = [
  ['jobs', 'Jobs', ''],
  ['failed', 'Failed by reason', 'failed'],
  ['submit', 'Submit', 'submit'],
];

/** Returns `{node, close()}`. `view` is the name in VIEWS of the view that is shown. */
export function QueueHead({ bridge, queues, onQueues }, queue, view) {
  const notes = h('span.notes');
  const facts = h('p.facts');
  const pause = h('button', { hidden: true, onclick: toggle });
  const tabs = VIEWS.map(([name, title, path]) =>
    h('a', { href: queueLink(queue, path), 'aria-current': name === view ? 'page' : null }, title),
  );
  const node = h(
    'div.queuehead',
    {},
    h(
      'div.line',
      {},
      h('h1', {}, h('a.up', { href: '#/' }, 'Queues'), h('span', { 'aria-hidden': 'true' }, ' / '), queue),
      notes,
      pause,
    ),
    facts,
    h('nav.views', { 'aria-label': 'Views of the queue' }, ...tabs),
  );

  function toggle() {
    const { paused } = queues.get(queue).stats;
    const about = paused
      ? ['resume', 'Workers take jobs again.']
      : ['pause', 'No worker takes a job of this queue until it is resumed.'];
    act(bridge, about[0], { queue }, paused ? `Resume ${queue}?` : `Pause ${queue}? Jobs that run go on.`, about[1]);
  }

  function draw() {
    const { stats, about } = queues.get(queue) ?? {};
    const now = stats?.counts;
    const waiting = now ? now.waiting + now.prioritized : 0;
    const found = [
      about?.problem && ['bad', about.problem],
      stats?.paused && ['warn', 'paused'],
      stats?.workers === 0 && waiting > 0 && ['warn', 'no worker'],
    ].filter(Boolean);
    pause.hidden = !stats || !bridge.rights.may(stats.paused ? 'write:queues:resume' : 'write:queues:pause', queue);
    say(pause, stats?.paused ? 'Resume' : 'Pause');
    notes.replaceChildren(...found.map(([kind, text]) => h(`span.note.${kind}`, {}, text)));
    const known = (value) => value !== null && value !== undefined;
    const told = stats
      ? [
          known(stats.completedPerMinute) &&
            `${number(stats.completedPerMinute)} completed, ${number(stats.failedPerMinute)} failed per minute`,
          known(stats.workers) && `${number(stats.workers)} ${stats.workers === 1 ? 'worker' : 'workers'}`,
          known(stats.oldestWaitingSeconds) && `oldest waiting ${duration(stats.oldestWaitingSeconds * 1000)}`,
        ].filter(Boolean)
      : [];
    say(facts, told.map((each) => each.replaceAll(' ', '\u00a0')).join(' · ') || '\u00a0');
    mark(facts, 'unknown', !told.length);
  }
  draw();
  const leave = onQueues((each) => (!each || each.label === queue) && draw());
  return { node, close: leave };
}
