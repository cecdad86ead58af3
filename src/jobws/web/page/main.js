/** The page: its header, and the view that the address names after `#`. */

import { Bridge } from './bridge.js';
import { h } from './dom.js';
import { icon } from './icons.js';
import { FailedView } from './failed.js';
import { JobView } from './job.js';
import { LogsView } from './logsview.js';
import { notices } from './notify.js';
import { Overview } from './overview.js';
import { QueueView } from './queue.js';
import { Palette } from './palette.js';
import { Queues } from './queues.js';
import { Status } from './status.js';
import { SubmitView } from './submit.js';
import { themeButton } from './theme.js';
import { TokenDialog, WhoDialog } from './token.js';

const status = Status();
const watchers = new Set();
const bridge = Bridge(tell, (reason) => {
  status.tell('token');
  leave();
  tokens.ask(reason);
});
const queues = Queues(bridge, (queue) => watchers.forEach((each) => each(queue)));
const tokens = TokenDialog(bridge);
const who = WhoDialog(bridge, tokens);
const page = {
  bridge,
  queues,
  /** Calls `watcher(queue)` when the numbers of a queue have changed, and `watcher()` when a queue has come or gone. */
  onQueues(watcher) {
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  },
};
const main = h('main', { id: 'main', tabindex: '-1' });
const nav = h('nav', { 'aria-label': 'Views' }, h('a', { href: '#/' }, 'Queues'), h('a', { href: '#/logs' }, 'Logs'));
const palette = Palette(page);
const search = h(
  'button.search',
  { onclick: palette.open, 'aria-keyshortcuts': 'Control+K' },
  icon('search'),
  h('span', {}, 'Go to'),
  h('kbd', { 'aria-hidden': 'true' }, 'Ctrl K'),
);
const header = h(
  'header',
  {},
  h('a.skip', { href: '#main', onclick: (event) => (event.preventDefault(), main.focus()) }, 'Skip to the content'),
  h('a.brand', { href: '#/' }, h('img', { src: 'page.svg', alt: '', width: 22, height: 22 }), 'jobws'),
  nav,
  search,
  status.node,
  h(
    'button.icon',
    { title: 'Your rights', 'aria-label': 'Your rights', onclick: () => (bridge.who ? who.show() : tokens.ask()) },
    icon('key'),
  ),
  themeButton(),
);
let shown = null;

function tell(state, detail) {
  status.tell(state, detail);
  if (state === 'expiring') tokens.ask('The token expires soon. Give a new one to go on.');
  if (state === 'offline' && !shown)
    main.replaceChildren(h('div.view', {}, h('p.empty', {}, 'The bridge does not answer. The page tries again.')));
  if (state !== 'begun') return;
  queues.begin();
  route();
}

function leave() {
  shown?.close();
  shown = null;
  main.replaceChildren();
}

/**
 * Returns the view of an address, `{node, title, close()}`. The addresses are `/`, `/logs`, `/queues/QUEUE`,
 * `/queues/QUEUE/failed`, `/queues/QUEUE/submit` and `/jobs/QUEUE/ID`. Names are percent-encoded.
 */
function viewOf(path, query = '') {
  const [, kind, queue, jobId] = path.split('/').map(decoded);
  const { only } = bridge.rights;
  if (only) return JobView(page, only.queue, only.job);
  if (kind === 'jobs' && queue && jobId) return JobView(page, queue, jobId);
  if (kind === 'logs') return LogsView(page, new URLSearchParams(query));
  if (kind === 'queues' && queue && jobId === 'failed') return FailedView(page, queue);
  if (kind === 'queues' && queue && jobId === 'submit') return SubmitView(page, queue);
  if (kind === 'queues' && queue) return QueueView(page, queue, new URLSearchParams(query));
  return Overview(page);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Show the view of the address. */
function route(event) {
  if (!bridge.who) return;
  leave();
  for (const each of [nav, search]) each.hidden = !!bridge.rights.only;
  shown = viewOf(...location.hash.slice(1).split('?'));
  main.append(shown.node);
  main.scrollTop = 0;
  if (event) main.focus({ preventScroll: true }); // people who use the keyboard go on there
  document.title = `${shown.title} · jobws`;
  for (const each of nav.children)
    each.setAttribute(
      'aria-current',
      each.hash === (location.hash.startsWith('#/logs') ? '#/logs' : '#/') ? 'page' : 'false',
    );
}

document.body.replaceChildren(header, main, notices, palette.node, tokens.node, who.node);
addEventListener('hashchange', route);
addEventListener('keydown', (event) => {
  if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  palette.open();
});
bridge.start();
