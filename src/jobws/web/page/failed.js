/** The failed jobs of a queue by the reason of their failure. Reasons that differ in numbers alone are one group. */

import { act, confirm } from './actions.js';
import { Again } from './again.js';
import { h, perFrame, say } from './dom.js';
import { number, plural, time, whole } from './format.js';
import { none, timeOf } from './model.js';
import { notify } from './notify.js';
import { link, missing } from './parts.js';
import { QueueHead } from './queuehead.js';

const MOST = 1000; // jobs that are shown, the last ones
const PAGE = 200;
const REASON = 300; // characters of a reason that are kept
const LISTED = 20; // jobs of a group that are shown
const TOGETHER = 8; // jobs that are retried at a time
const NUMBER = /\b[0-9a-f]{8,}\b|\b[0-9a-f-]{36}\b|\d+/gi;
const shapeOf = (reason) => reason.replace(NUMBER, '…');

/** Returns a reason for all of these, which have the same shape: a number is … in it where they differ. */
function common([first, ...others]) {
  const numbers = others.map((each) => each.match(NUMBER));
  let index = 0;
  return first.replace(NUMBER, (text) => {
    const same = numbers.every((each) => each?.[index] === text);
    index++;
    return same ? text : '…';
  });
}

export function FailedView(page, queue) {
  const { bridge } = page;
  const head = QueueHead(page, queue, 'failed');
  const title = `Failed · ${queue}`;
  const forbidden = missing(bridge, 'read:jobs', 'the failed jobs of this queue', queue);
  if (forbidden) return { node: h('section.view', {}, head.node, forbidden), title, close: head.close };
  const jobs = new Map(); // the failed ones, by id: {jobId, name, at, reason}
  const list = h('div.groups');
  const empty = h('p.empty', {}, 'Loading …');
  const all = h('button', { hidden: true, onclick: retryAll }, 'Retry all failed');
  const sum = h('span.hint', { role: 'status' });
  const line = h('div.line', {}, sum, all);
  const node = h('section.view', {}, head.node, line, empty, list);
  const left = new AbortController();
  const groups = new Map(); // their elements, by shape
  const again = Again(read);
  let stale = new Set(); // jobs that the present reading has not brought yet
  let rounds = 0;
  let nowhere = ''; // a sentence, if the bridge does not know the queue
  let loaded = false;
  const draw = perFrame(render);

  function render() {
    const found = new Map();
    for (const job of jobs.values()) {
      const shape = job.reason === undefined ? '' : shapeOf(job.reason);
      if (!found.has(shape)) found.set(shape, []);
      found.get(shape).push(job);
    }
    for (const [shape, { node: old }] of groups) if (!found.has(shape)) (old.remove(), groups.delete(shape));
    const sorted = [...found].sort(([, a], [, b]) => b.length - a.length);
    const most = sorted[0]?.[1].length ?? 1;
    sorted.forEach(([shape, members], index) => {
      if (!groups.has(shape)) groups.set(shape, Group(bridge, queue));
      const group = groups.get(shape);
      group.draw(
        members.sort((a, b) => b.at - a.at),
        members.length / most,
      );
      if (list.children[index] !== group.node) list.insertBefore(group.node, list.children[index] ?? null);
    });
    empty.hidden = jobs.size > 0;
    line.hidden = !jobs.size;
    say(empty, nowhere || (loaded ? 'No job of this queue has failed.' : 'Loading …'));
    say(sum, jobs.size ? `${plural(jobs.size, 'failed job')} for ${plural(sorted.length, 'reason')}` : '');
    all.hidden = !jobs.size || !bridge.rights.may('write:queues:retry', queue);
  }

  function note(jobId, about) {
    const job = { jobId, name: '', ...jobs.get(jobId), ...about };
    jobs.set(jobId, { ...job, reason: job.reason?.slice(0, REASON) });
    if (jobs.size > MOST) jobs.delete([...jobs.values()].reduce((a, b) => (a.at < b.at ? a : b)).jobId);
    stale.delete(jobId);
    draw();
  }

  async function load() {
    const round = ++rounds;
    stale = new Set(jobs.keys());
    let cursor;
    for (let each = 0; each < MOST && cursor !== null; each += PAGE) {
      const found = await bridge.get('queue-jobs', { queue, state: 'failed', limit: PAGE, cursor }).catch(none);
      if (left.signal.aborted || round !== rounds) return;
      ({ cursor } = found);
      for (const { jobId, name, finishedOn } of found.jobs) {
        const at = finishedOn ?? 0;
        const known = jobs.get(jobId);
        note(jobId, { name, at });
        if (known?.at === at && known.reason !== undefined) continue;
        // Lists hold no reasons, but the outcome that a subscription begins with does.
        const failed = ({ name: kind, reason }) =>
          kind === 'JobFailed' && jobs.has(jobId) && note(jobId, { reason: reason ?? '' });
        bridge.jobs.wait(jobId, { queue, signal: left.signal }).catch(failed);
      }
    }
    for (const jobId of stale) jobs.delete(jobId);
    loaded = true;
    again.done();
    draw();
  }

  /** Reads what has failed, again where events may be missing. */
  function read() {
    load().catch((error) => {
      if (!left.signal.aborted && again.later()) notify(error.message, 'bad');
    });
  }

  function take(event, data, id) {
    nowhere = event === 'ended' ? data.message : '';
    if (nowhere) return draw();
    if (['ack', 'gap', 'cleaned'].includes(event)) return read();
    if (event === 'failed') return note(data.jobId, { reason: data.failedReason ?? '', at: timeOf(id) });
    if (data?.jobId !== undefined && jobs.delete(data.jobId)) draw();
  }

  function retryAll() {
    act(
      bridge,
      'retry-failed',
      { queue },
      `Retry all failed jobs of ${queue}?`,
      ({ failed }) => `${plural(failed, 'job')} will be retried.`,
    );
  }

  const leave = bridge.follow(queue, ['failed', 'waiting', 'active', 'removed', 'cleaned'], take);
  return {
    node,
    title,
    close() {
      left.abort();
      again.end();
      leave();
      draw.stop();
      head.close();
    },
  };
}

function Group(bridge, queue) {
  const [count, reason, last] = [h('b.n'), h('span.reason'), h('time')];
  const bar = h('i');
  const list = h('ul');
  const button = h('button', { onclick: retry }, 'Retry these');
  const node = h(
    'details.group',
    {},
    h('summary', {}, count, reason, last, h('span.part', { 'aria-hidden': 'true' }, bar)),
    list,
    bridge.rights.may('write:jobs:retry', queue) && h('div.buttons', {}, button),
  );
  let members = [];

  /** Retries each job of the group, TOGETHER at a time. */
  async function retry() {
    const todo = members.map(({ jobId }) => jobId);
    if (!(await confirm(`Retry ${plural(todo.length, 'job')} that failed for this reason?`, 'Retry'))) return;
    button.disabled = true;
    let done = 0;
    let refused = 0;
    let why = '';
    const next = async () => {
      for (let jobId = todo.pop(); jobId !== undefined; jobId = todo.pop())
        await bridge.act('retry', { queue, jobId }).then(
          () => done++,
          ({ message }) => (refused++, (why ||= message)),
        );
    };
    await Promise.all(Array.from({ length: TOGETHER }, next));
    notify(`${plural(done, 'job waits', 'jobs wait')} for another run.`);
    if (refused) notify(`${plural(refused, 'job')} could not be retried: ${why}`, 'bad');
    button.disabled = false;
  }

  return {
    node,
    draw(now, part) {
      members = now;
      say(count, number(now.length));
      say(
        reason,
        now[0].reason === undefined
          ? 'The bridge does not tell the reason.'
          : common(now.map((each) => each.reason ?? '')) || 'No reason was given.',
      );
      say(last, time(now[0].at));
      last.title = whole(now[0].at);
      bar.style.transform = `scaleX(${part})`;
      list.replaceChildren(
        ...now
          .slice(0, LISTED)
          .map(({ jobId, name, at }) =>
            h(
              'li',
              {},
              h('a', { href: link(queue, jobId) }, name || jobId),
              h('code', {}, jobId),
              h('time', { title: whole(at) }, time(at)),
            ),
          ),
        ...(now.length > LISTED ? [h('li.hint', {}, `and ${number(now.length - LISTED)} more`)] : []),
      );
    },
  };
}
