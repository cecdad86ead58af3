/** `<jobws-job queue job url>`: one job, live, from its state to its result or the reason why it failed. */

import { join } from './client.js';
import { ConnectionNote, NOTE } from './connection-note.js';
import { h, soon, write, writeAll } from './dom.js';
import { JobwsElement, reflects } from './element.js';
import { isOver, NOTHING } from './job.js';
import { LOG, LogView } from './log-view.js';
import { PROGRESS, ProgressBar } from './progress-bar.js';
import { BADGE, StateBadge, wordsFor } from './state-badge.js';
import { adopt, CARD } from './style.js';
import { clock, duration, moment, running } from './time.js';
import { TREE, ValueTree } from './value-tree.js';

// How often a time that grows is written, in milliseconds.
const TICK = 1000;

const JOB = `
.about { font-size: 12.5px; unicode-bidi: isolate; }
.result {
  padding: 9px 12px; border-radius: calc(var(--radius) - 2px); background: var(--sunken);
  max-height: var(--jobws-result-height, 360px); overflow: auto;
}
.logs { position: relative; }
.logs > summary { width: fit-content; font-size: 12.5px; font-weight: 600; color: var(--muted); border-radius: 4px; }
.logs > summary:hover { color: var(--text); }
.logs[open] > summary { margin-bottom: 10px; }
.logs .tools { position: absolute; top: -4px; inset-inline-end: 0; }
`;

export class JobElement extends JobwsElement {
  static observedAttributes = ['job', 'queue', 'url'];

  #job = NOTHING;
  #parts = null;
  #leave = null;
  #shown = {}; // what the page shows now, of what is made again only if it has changed
  #ticking;

  /** The state of the job: that of a snapshot (S2), or `removed`, `missing`, `refused`, or '' before anything is known. */
  get state() {
    return this.#job.state;
  }

  /** What the job has returned; undefined: nothing yet. */
  get result() {
    return this.#job.result;
  }

  /** Why the job has failed, or why the bridge does not tell; '' if neither is so. */
  get reason() {
    return this.#job.reason;
  }

  connectedCallback() {
    if (!this.#parts) this.#build();
    super.connectedCallback();
  }

  disconnectedCallback() {
    clearInterval(this.#ticking);
    this.#ticking = null;
    super.disconnectedCallback();
  }

  join(url, token) {
    return join(url, token);
  }

  start(client) {
    this.#become(NOTHING, true);
    this.#parts.log.clear();
    this.#shown.lines = 0;
    if (!this.job) return [];
    this.#follow(client);
    return [() => this.#leave()];
  }

  /** Follows the job, with its log lines if the reader has opened them. */
  #follow(client) {
    const before = this.#leave;
    this.#leave = client.follow(this.queue ?? undefined, this.job, (job) => this.#become(job), this.#parts.logs.open);
    before?.();
  }

  #become(job, anew = false) {
    const before = this.#job;
    this.#job = job;
    this.changed();
    if (anew || job.state === before.state) return;
    // If the job had ended before it was first shown, its end is no news.
    if (isOver(job) && before.state) this.#announce(job);
    const { state, result, reason } = job;
    this.dispatchEvent(
      new CustomEvent('jobws-state', {
        bubbles: true,
        composed: true,
        detail: { state, queue: job.queue, jobId: job.jobId, result, reason },
      }),
    );
  }

  /** Has screen readers say how the job has ended, after what they are saying now. */
  #announce({ name, jobId, state, reason }) {
    write(this.#parts.news, `${name || 'job'} ${jobId} ${wordsFor(state)}${reason ? `: ${reason.slice(0, 200)}` : ''}`);
  }

  #build() {
    const root = this.attachShadow({ mode: 'open' });
    adopt(root, CARD, JOB, BADGE, PROGRESS, TREE, LOG, NOTE);
    const [badge, bar, note] = [StateBadge(), ProgressBar(), ConnectionNote()];
    const log = LogView({ label: 'log lines of the job', empty: 'The worker has written no log line yet.' });
    const name = h('span', { className: 'name', part: 'name' });
    const about = h('span', { className: 'about mono muted', part: 'about' });
    const took = h('span', { className: 'took', part: 'duration' });
    const times = h('p', { className: 'times', part: 'times' });
    const result = h('div', { className: 'result', part: 'result', hidden: true });
    const reason = h('pre', { className: 'reason', part: 'reason', hidden: true });
    const logs = h(
      'details',
      { className: 'logs', part: 'logs' },
      h('summary', { textContent: 'Log' }),
      h('div', { className: 'tools' }, log.pause),
      log.node,
    );
    const news = h('div', { className: 'unseen', role: 'status', 'aria-live': 'polite' });
    const head = h('div', { className: 'head', part: 'head' }, h('div', {}, badge.node, name, about, note.node), took);
    logs.ontoggle = () => logs.open && this.client && this.job && this.#follow(this.client);
    root.append(h('div', { className: 'card', part: 'card' }, head, bar.node, times, result, reason, logs), news);
    this.#parts = { badge, bar, note, log, name, about, took, times, result, reason, logs, news };
  }

  render() {
    const { badge, bar, note, name, about, took, times, logs } = this.#parts;
    const job = this.#job;
    const now = Date.now();
    badge.show(this.client?.status === 'refused' && !isOver(job) ? 'refused' : job.state);
    note.show(this.client);
    write(name, job.name);
    write(about, [job.queue ?? this.queue, this.job].filter(Boolean).join(' / '));
    bar.show(job, now);
    const { started, ended } = job;
    write(
      took,
      started && ended ? duration(ended - started) : started && job.state === 'active' ? running(now - started) : '',
    );
    writeAll(times, timesOf(job, now));
    times.title = job.added ? `added ${moment(job.added)}` : '';
    logs.hidden = ['', 'missing', 'refused'].includes(job.state) && !job.lines.length;
    this.#renderEnd(job);
    this.#renderLines(job);
    this.#tick(!isOver(job) && job.state !== 'missing' && job.state !== 'refused' && !!job.added);
  }

  #renderEnd(job) {
    const { result, reason } = this.#parts;
    const why = this.client?.status === 'refused' && !isOver(job) ? this.client.reason : job.reason;
    reason.hidden = !why;
    if (write(reason, why)) focusable(reason);
    if (this.#shown.result === job.result && this.#shown.whole === job.whole) return;
    this.#shown.result = job.result;
    this.#shown.whole = job.whole;
    result.hidden = job.result === undefined && !job.whole;
    if (job.whole) result.replaceChildren(this.#loader(job));
    else if (!result.hidden) this.#showResult(job.result);
  }

  #showResult(value) {
    this.#parts.result.replaceChildren(ValueTree(value));
    focusable(this.#parts.result);
  }

  /** Returns a button that loads a result, or a reason, which was too large for an event. */
  #loader({ queue, jobId, whole, bytes }) {
    const button = h('button', { type: 'button', part: 'load', textContent: `Load all of it (${size(bytes)})` });
    button.onclick = async () => {
      button.disabled = true;
      try {
        const [event] = await this.client.jobs.lookup(jobId, { queue, event: whole });
        if (this.#shown.whole === whole) this.#showResult(event.returnvalue ?? event.failedReason);
      } catch (error) {
        button.disabled = false;
        button.textContent = error.message;
      }
    };
    return button;
  }

  #renderLines({ lines, count }) {
    const { log, logs } = this.#parts;
    if (!logs.open || count === this.#shown.lines) return;
    log.add(lines.slice(Math.max(0, lines.length + this.#shown.lines - count)));
    this.#shown.lines = count;
  }

  #tick(wanted) {
    if (wanted) this.#ticking ??= setInterval(() => soon(() => this.isConnected && this.render()), TICK);
    else (clearInterval(this.#ticking), (this.#ticking = null));
  }
}

/** Lets the keyboard reach a node whose content must be scrolled. */
function focusable(node) {
  node.tabIndex = node.scrollHeight > node.clientHeight ? 0 : -1;
}

const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

/** Returns texts about a job's times: how long it waited, which attempt it is, when it ended. How long it ran stands elsewhere. */
function timesOf({ state, added, started, ended, due, attempts, gone }, now) {
  if (state === 'missing') return ['It appears here as soon as somebody adds it.'];
  const texts = [];
  if (state === 'delayed')
    texts.push(!due ? 'waits for its time' : due > now ? `due in ${running(due - now)}` : 'due now');
  else if (added && started && state !== 'waiting') texts.push(`waited ${duration(started - added)}`);
  else if (added && !ended) texts.push(`waiting for ${running(now - added)}`);
  if (state === 'active' && attempts) texts.push(`attempt ${attempts + 1}`);
  else if (attempts > !!ended) texts.push(`${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}`);
  if (ended) texts.push(`ended ${clock(ended, now)}`);
  if (gone) texts.push('removed since');
  return texts;
}

reflects(JobElement, ['job', 'queue']);
