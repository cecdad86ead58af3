/** `<jobws-queue queue url>`: the numbers of a queue as they change. */

import { join } from './client.js';
import { ConnectionNote, NOTE } from './connection-note.js';
import { h, write, writeAll } from './dom.js';
import { JobwsElement, reflects } from './element.js';
import { BADGE, wordsFor } from './state-badge.js';
import { adopt, CARD } from './style.js';
import { running } from './time.js';

// How often the age of the oldest waiting job is written, in milliseconds, since it grows.
const TICK = 1000;
// The states that are always shown; others only if there are such jobs.
const ALWAYS = ['waiting', 'active', 'delayed', 'completed', 'failed'];
const STATES = ['waiting', 'prioritized', 'active', 'delayed', 'waiting-children', 'completed', 'failed'];

const QUEUE = `
.counts { display: grid; grid-template-columns: repeat(auto-fit, minmax(86px, 1fr)); gap: 8px; margin: 0; }
.counts div { padding: 8px 12px; border-radius: calc(var(--radius) - 2px); background: var(--sunken); }
.counts dt { font-size: 12px; color: var(--muted); }
.counts dd { margin: 0; font-size: 20px; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums; }
.counts .none dd { color: var(--muted); font-weight: 400; }
.counts .active:not(.none) dd { color: var(--accent); }
.counts .failed:not(.none) dd { color: var(--bad); }
.warning { font-weight: 600; font-size: 12.5px; color: var(--warn); }
`;

export class QueueElement extends JobwsElement {
  static observedAttributes = ['queue', 'url'];

  #view = { stats: null };
  #parts = null;
  #ticking = null;

  /** The numbers of the queue (rule E12 of protocol.md); null before the first ones came. */
  get stats() {
    return this.#view.stats;
  }

  connectedCallback() {
    if (!this.#parts) this.#build();
    super.connectedCallback();
    this.#ticking = setInterval(() => this.#view.stats?.oldestWaitingSeconds != null && this.changed(), TICK);
  }

  disconnectedCallback() {
    clearInterval(this.#ticking);
    super.disconnectedCallback();
  }

  join(url, token) {
    return join(url, token);
  }

  start(client) {
    this.#view = { stats: null };
    if (!this.queue) return [];
    const show = (view) => {
      const changed = view.stats !== this.#view.stats;
      this.#view = view;
      this.changed();
      if (changed)
        this.dispatchEvent(new CustomEvent('jobws-stats', { bubbles: true, composed: true, detail: view.stats }));
    };
    return [client.followQueue(this.queue, show)];
  }

  #build() {
    const root = this.attachShadow({ mode: 'open' });
    adopt(root, CARD, BADGE, NOTE, QUEUE);
    const note = ConnectionNote();
    const name = h('span', { className: 'name', part: 'name' });
    const paused = h('span', { className: 'badge', part: 'paused', textContent: wordsFor('paused'), hidden: true });
    paused.dataset.tone = 'warn';
    const rate = h('span', { className: 'took', part: 'rate', title: 'jobs that completed in the last minute' });
    const counts = h('dl', { className: 'counts', part: 'counts' });
    const numbers = STATES.map((state) => {
      const count = h('dd');
      const node = h(
        'div',
        { className: state, part: `count ${state}`, hidden: true },
        h('dt', { textContent: wordsFor(state) }),
        count,
      );
      counts.append(node);
      return { state, node, count };
    });
    const times = h('p', { className: 'times', part: 'times' });
    const warning = h('p', { className: 'warning', part: 'warning', role: 'status' });
    const reason = h('pre', { className: 'reason', part: 'reason', hidden: true });
    const head = h('div', { className: 'head', part: 'head' }, h('div', {}, name, paused, note.node), rate);
    root.append(h('div', { className: 'card', part: 'card' }, head, counts, warning, times, reason));
    this.#parts = { note, name, paused, rate, numbers, counts, times, warning, reason };
  }

  render() {
    const { note, name, paused, rate, numbers, counts, times, warning, reason } = this.#parts;
    const { stats, at, missing } = this.#view;
    note.show(this.client);
    write(name, this.queue ?? '');
    const why = this.#view.reason || (this.client?.status === 'refused' ? this.client.reason : '');
    write(reason, why);
    reason.hidden = !why;
    counts.hidden = !stats;
    paused.hidden = !stats?.paused;
    rate.hidden = stats?.completedPerMinute == null;
    write(rate, `${stats?.completedPerMinute?.toLocaleString()} / min`);
    for (const { state, node, count } of numbers) {
      const value = stats?.counts[state] ?? 0;
      write(count, value.toLocaleString());
      node.classList.toggle('none', !value);
      node.hidden = !value && !ALWAYS.includes(state);
    }
    const texts = stats
      ? textsOf(stats, Date.now() - at)
      : missing
        ? ['There is no such queue yet. Its numbers appear here once there is.']
        : [];
    writeAll(times, texts);
    const waits = stats && stats.counts.waiting + stats.counts.prioritized > 0 && stats.workers === 0;
    write(warning, waits ? 'Jobs wait, and the queue has no worker.' : '');
    warning.hidden = !waits;
  }
}

function textsOf({ oldestWaitingSeconds, failedPerMinute, workers }, age) {
  const texts = [];
  if (oldestWaitingSeconds !== null) texts.push(`oldest waiting ${running(oldestWaitingSeconds * 1000 + age)}`);
  if (failedPerMinute) texts.push(`${failedPerMinute.toLocaleString()} failed in the last minute`);
  if (workers !== null) texts.push(`${workers || 'no'} worker${workers === 1 ? '' : 's'}`);
  return texts;
}

reflects(QueueElement, ['queue']);
