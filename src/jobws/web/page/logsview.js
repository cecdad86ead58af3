/** The view of the bridge's log: `<jobws-logs>`, with further filters. */

import { define } from '../src/elements/element.js';
import { LogsElement } from '../src/elements/logs-element.js';
import { BASE } from './bridge.js';
import { h } from './dom.js';
import { missing } from './parts.js';

const FILTERS = ['queue', 'job', 'source'];

export function LogsView({ bridge }, query) {
  define('jobws-logs', LogsElement);
  const title = 'Logs';
  const forbidden = missing(bridge, 'read:logs', 'the log');
  if (forbidden) return { node: h('section.view', {}, h('h1', {}, title), forbidden), title, close() {} };
  const { only } = bridge.rights.logs;
  const logs = h('jobws-logs', { url: BASE, level: query.get('level'), queue: query.get('queue') ?? only });
  logs.token = bridge.token;
  const fields = FILTERS.map((name) => {
    const field = h('input', {
      type: 'search',
      value: logs.getAttribute(name),
      placeholder: `Any ${name}`,
      'aria-label': name,
      onchange: () => (field.value.trim() ? logs.setAttribute(name, field.value.trim()) : logs.removeAttribute(name)),
    });
    return field;
  });
  return {
    node: h('section.view.full', {}, h('div.line', {}, h('h1', {}, title), h('div.filters', {}, ...fields)), logs),
    title,
    close() {},
  };
}
