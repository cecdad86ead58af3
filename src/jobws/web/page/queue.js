/** The view of one queue: its jobs as they come and go, filtered by state, name and id. */

import { h, mark, perFrame, say, whileVisible } from './dom.js';
import { number, NOTHING, plural } from './format.js';
import { Jobs } from './jobs.js';
import { VirtualList } from './list.js';
import { STATES } from './model.js';
import { notify } from './notify.js';
import { link, missing } from './parts.js';
import { JobRow } from './row.js';
import { QueueHead } from './queuehead.js';

export function QueueView(page, queue, query) {
  const { bridge, queues, onQueues } = page;
  const head = QueueHead(page, queue, 'jobs');
  const title = `${queue}`;
  const forbidden = missing(bridge, 'read:jobs', 'the jobs of this queue', queue);
  if (forbidden) return { node: h('section.view', {}, head.node, forbidden), title, close: head.close };

  let state = STATES.includes(query.get('state')) ? query.get('state') : '';
  let text = query.get('q') ?? '';
  const tabs = ['', ...STATES].map((each) => {
    const count = h('span.n');
    const button = h(
      'button.tab',
      { 'data-state': each, onclick: () => choose(each) },
      h('i', { 'aria-hidden': 'true' }),
      each || 'all',
      count,
    );
    return { each, button, count };
  });
  const field = h('input', {
    type: 'search',
    placeholder: 'Filter by name or id',
    'aria-label': 'Filter by name or id',
    value: text,
    oninput: () => ((text = field.value.trim()), choose(state)),
  });
  const goto = h('a.goto', { hidden: true });
  const news = h('button.news', { hidden: true, onclick: () => list.toTop() });
  const empty = h('p.empty', { hidden: true });
  const filters = h(
    'div.filters',
    {},
    h('div.tabs', { role: 'group', 'aria-label': 'State' }, ...tabs.map(({ button }) => button)),
    field,
  );
  const columns = h(
    'div.columns',
    { 'aria-hidden': 'true' },
    ...['State', 'Job', 'Progress', 'Waited', 'Ran', 'Attempts', 'Added'].map((each) => h('span', {}, each)),
  );
  const list = VirtualList({
    label: `Jobs of ${queue}`,
    Row: (job) => JobRow(job, bridge),
    atEnd: () => jobs.hasMore(chosen()) && jobs.more(chosen()),
    above(count) {
      news.hidden = !count;
      say(news, `↑ ${plural(count, 'new job')}`);
    },
  });
  const node = h(
    'section.view.full',
    {},
    head.node,
    filters,
    goto,
    columns,
    h('div.frame', {}, news, list.node, empty),
  );
  let moved = true;
  const draw = perFrame(() => {
    if (!moved) return list.draw();
    moved = false;
    const items = filtered();
    list.show(items);
    empty.hidden = items.length > 0;
    filters.hidden = columns.hidden = !!jobs.nowhere;
    say(
      empty,
      jobs.nowhere ||
        (loaded
          ? text || state
            ? 'No job here that fits.'
            : 'No jobs yet. They appear here as they are added.'
          : 'Loading …'),
    );
    goto.hidden = !text || items.length > 0;
    if (!goto.hidden) {
      goto.href = link(queue, text);
      say(goto, `Open the job with the id “${text}” →`);
    }
  });
  let loaded = false;
  const jobs = Jobs(
    bridge,
    queue,
    (isMoved) => {
      loaded ||= isMoved;
      moved ||= isMoved;
      draw();
    },
    ({ message }) => notify(message, 'bad'),
  );
  const chosen = () => (state ? [state] : STATES);

  function filtered() {
    const wanted = text.toLowerCase();
    const items = [];
    for (let index = jobs.order.length - 1; index >= 0; index--) {
      const job = jobs.order[index];
      if (state && job.state !== state) continue;
      if (wanted && !job.name.toLowerCase().includes(wanted) && !job.jobId.toLowerCase().includes(wanted)) continue;
      items.push(job);
    }
    return items;
  }

  function choose(next) {
    state = next;
    for (const { each, button } of tabs) button.setAttribute('aria-pressed', each === state);
    const values = new URLSearchParams([
      ...(state ? [['state', state]] : []),
      ...(text ? [['q', text]] : []),
    ]).toString();
    history.replaceState(null, '', `#/queues/${encodeURIComponent(queue)}${values && `?${values}`}`);
    moved = true;
    list.toTop();
    draw();
  }

  function counts() {
    const { counts: now } = queues.get(queue)?.stats ?? {};
    for (const { each, count, button } of tabs) {
      const total = now && (each ? now[each] : STATES.reduce((sum, one) => sum + (now[one] ?? 0), 0));
      say(count, total === undefined ? NOTHING : number(total));
      // States in which there is seldom a job do not take the place of others.
      mark(button, 'rare', (each === 'prioritized' || each === 'waiting-children') && !total && each !== state);
    }
  }

  choose(state);
  counts();
  const leave = onQueues((each) => (!each || each.label === queue) && counts());
  const stop = whileVisible(() => list.draw(), 1000);
  return {
    node,
    title,
    close() {
      jobs.close();
      leave();
      stop();
      list.close();
      draw.stop();
      head.close();
    },
  };
}
