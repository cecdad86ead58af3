/** `<jobws-logs queue job level source text url>`: the lines of the bridge's log, live, with filters. */

import { joinLogs } from './client.js';
import { ConnectionNote, NOTE } from './connection-note.js';
import { h, write } from './dom.js';
import { JobwsElement, reflects } from './element.js';
import { LOG, LogView } from './log-view.js';
import { adopt, CARD } from './style.js';
import { clock, moment } from './time.js';

const LEVELS = ['debug', 'info', 'warning', 'error', 'critical'];
// How many of the last lines are shown first.
const TAIL = 200;
// A filter is applied when nobody has typed for so many milliseconds.
const TYPING = 250;

const LOGS = `
.card { container-type: inline-size; }
.tools { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
.tools input { flex: 1 1 140px; min-width: 0; }
.log .lines { max-height: var(--jobws-log-height, 420px); }
.log .lines > div { display: grid; grid-template-columns: max-content 5.2em minmax(0, 1fr); gap: 0 12px; }
.log time { color: var(--muted); }
.log .about { color: var(--muted); }
.log .level { color: var(--muted); }
.log [data-level=info] .level { color: var(--accent); }
.log [data-level=warning] .level { color: var(--warn); }
.log [data-level=error] :is(.level, .message), .log [data-level=critical] :is(.level, .message) { color: var(--bad); }
.log [data-level=critical] .level { font-weight: 700; }
.log .lost { color: var(--warn); display: block !important; }
@container (max-width: 520px) {
  .tools input { order: 1; flex-basis: 100%; }
  .tools .note { margin-inline-end: auto; }
  .log .lines > div { grid-template-columns: max-content 1fr; padding-bottom: 4px; }
  .log .text { grid-column: 1 / -1; }
}
`;

export class LogsElement extends JobwsElement {
  static observedAttributes = ['queue', 'job', 'level', 'source', 'text', 'url'];

  #parts = null;
  #filter = {}; // what the viewer has chosen
  #subscribe = () => {};

  connectedCallback() {
    if (!this.#parts) this.#build();
    super.connectedCallback();
  }

  start(client) {
    const { log, level, text } = this.#parts;
    this.#filter = { level: this.level ?? '', text: this.text ?? '' };
    level.value = this.#filter.level;
    text.value = this.#filter.text;
    const { jobs } = client;
    const show = (data) => log.add([data]);
    const lose = ({ count, approximate }) =>
      log.add([
        {
          lost: count ? `${approximate ? 'about ' : ''}${count} lines were dropped here` : 'lines may be missing here',
        },
      ]);
    jobs.on('log', show).on('dropped', lose);
    this.#subscribe = async () => {
      const { level, text } = this.#filter;
      const { error } = await jobs.emitWithAck('subscribe-logs', {
        level: level || undefined,
        text: text || undefined,
        queue: this.queue ?? undefined,
        jobId: this.job ?? undefined,
        source: this.source ?? undefined,
        tail: TAIL,
      });
      if (error?.code === 'unsubscribed') return; // the filter has changed again
      log.clear();
      if (error) log.add([{ lost: error.message }]);
    };
    this.#subscribe();
    return [() => jobs.off('log', show).off('dropped', lose)];
  }

  join(url, token) {
    return joinLogs(url, token);
  }

  #build() {
    const root = this.attachShadow({ mode: 'open' });
    adopt(root, CARD, LOG, NOTE, LOGS);
    const log = LogView({ label: 'log lines', empty: 'Waiting for lines …', line });
    const note = ConnectionNote({ always: true });
    const level = h(
      'select',
      { part: 'level', 'aria-label': 'least severe level' },
      h('option', { value: '', textContent: 'all levels' }),
      ...LEVELS.map((name) => h('option', { value: name, textContent: name === 'critical' ? name : `${name} and up` })),
    );
    const text = h('input', {
      type: 'search',
      part: 'filter',
      placeholder: 'Filter messages',
      'aria-label': 'filter messages',
      maxLength: 1024,
    });
    let typing;
    level.onchange = () => this.#choose({ level: level.value });
    text.oninput = () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#choose({ text: text.value }), TYPING);
    };
    root.append(
      h(
        'div',
        { className: 'card', part: 'card' },
        h('div', { className: 'tools', part: 'tools' }, note.node, text, level, log.pause),
        log.node,
      ),
    );
    this.#parts = { log, note, level, text };
  }

  #choose(filter) {
    this.#filter = { ...this.#filter, ...filter };
    this.#subscribe();
  }

  render() {
    this.#parts.note.show(this.client);
  }
}

/** Returns a node for a line of the log (L3), or for what was lost. */
function line({ lost, time, level, source, message, queue, jobId }) {
  if (lost) return h('div', { className: 'lost', textContent: lost });
  const about = [source, ...(queue ? [queue] : []), ...(jobId ? [jobId] : [])].join(' / ');
  const node = h(
    'div',
    {},
    h('time', { textContent: clock(time), title: moment(time) }),
    h('span', { className: 'level', textContent: level }),
    h(
      'span',
      { className: 'text' },
      h('span', { className: 'message', textContent: message }),
      h('span', { className: 'about', textContent: `  ${about}` }),
    ),
  );
  node.dataset.level = level;
  return node;
}

reflects(LogsElement, ['queue', 'job', 'level', 'source', 'text']);
