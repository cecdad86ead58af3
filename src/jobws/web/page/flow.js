/** The flow of a job: all jobs below it, as a tree, with their states as they change. */

import { percentOf, wordsOf } from '../src/elements/progress.js';
import { Again } from './again.js';
import { h, perFrame, say } from './dom.js';
import { line, number, plural } from './format.js';
import { apply, ENDED, Job, merge } from './model.js';
import { chip, link, LOADING } from './parts.js';

const PORTION = 200; // jobs that are looked up together
const LOOK_AFTER = 200; // milliseconds, since more jobs are soon to be looked up
const TEXT = 80; // characters of a reason or a progress that are shown
const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);

/** Follows the flow of a job. Returns `{node, close()}`; the node is hidden while no job below is known. */
export function Flow(bridge, { queue, jobId }) {
  const root = { queue, jobId };
  const nodes = new Map();
  const tree = h('ul.flow');
  const count = h('span.hint');
  const node = h('section.panel', { hidden: true }, h('div.panelhead', {}, h('h2', {}, 'Flow'), count), tree);
  const draw = perFrame(() => nodes.forEach((each) => each.draw()));

  function child({ queue, jobId }, parent) {
    const key = keyOf(queue, jobId);
    const known = nodes.get(key);
    if (known?.placed || (known && !parent)) return known;
    const { may, only } = bridge.rights;
    const href = !only && may('read:jobs', queue, jobId) && link(queue, jobId);
    const found = known ?? Node(Job(queue, jobId), href);
    nodes.set(key, found);
    // Jobs further below may tell before the one above them has told where it is.
    const isBelowRoot = !parent || (parent.queue === root.queue && parent.jobId === root.jobId);
    found.placed = !!parent;
    (isBelowRoot ? tree : child(parent).list).append(found.node);
    node.hidden = false;
    if (href) unread.add(found.job);
    soon();
    return found;
  }

  const unread = new Set(); // jobs that are to be looked up: no event tells the name of one that was there before, nor what a gap hides
  let looking = new Set(); // jobs that are being looked up, and of which no event has come meanwhile
  let timer; // of the next look
  let asking = false; // whether a look goes on
  let wanted = false; // whether there must be another one after that
  let closed = false;
  let problem = ''; // why it is not followed
  const lookAgain = Again(look);
  function soon() {
    wanted = true;
    if (!asking && !closed && !lookAgain.waits) timer ??= setTimeout(look, LOOK_AFTER);
  }

  /** Looks up a portion of the jobs, and how many there are. */
  async function look() {
    [timer, wanted, asking] = [undefined, false, true];
    const asked = [...unread].slice(0, PORTION);
    looking = new Set(asked);
    for (const job of asked) unread.delete(job);
    const jobs = asked.map(({ queue, jobId }) => ({ queue, jobId }));
    const [{ results }, { tree: counts = {} }] = await Promise.all([
      jobs.length ? bridge.post('lookup', {}, { jobs }).catch(() => ({})) : { results: [] },
      bridge.get('jobs', { ...root, children: 1 }).catch(() => ({})),
    ]);
    asking = false;
    if (closed) return;
    if (!results) {
      for (const job of asked) unread.add(job);
      return lookAgain.later();
    }
    lookAgain.done();
    results.forEach(({ jobs: [found] = [] }, index) => {
      const job = asked[index];
      if (found && looking.has(job)) merge(job, found);
      else job.name ||= found?.name ?? '';
    });
    tell(counts);
    draw();
    if (wanted || unread.size) soon();
  }

  function tell({ done, failed, total }) {
    node.hidden = !total && !nodes.size;
    const words = [`${number(done)} of ${plural(total, 'job')} done`, failed && `${number(failed)} failed`];
    say(count, problem || (total ? words.filter(Boolean).join(', ') : ''));
  }

  function take(event, data, parent) {
    if (event === 'gap') {
      for (const { job, href } of nodes.values()) {
        if (href) unread.add(job);
        job.at = undefined; // in a stream that is another one, positions begin again
      }
      soon();
    } else if (event === 'ended') {
      problem = data.message;
      soon();
    } else if (parent) {
      const { job } = child(data, parent);
      looking.delete(job); // the answer may be older
      apply(job, event, data, bridge.now());
      if (ENDED.includes(event)) soon();
      draw();
    }
  }

  const leave = bridge.followFlow(queue, jobId, take);
  look();
  return {
    node,
    close() {
      closed = true;
      leave();
      clearTimeout(timer);
      lookAgain.end();
      draw.stop();
    },
  };
}

/** Returns a job of the tree. `href` is the address of its own view; false if the viewer may see it here only. */
function Node(job, href) {
  const badge = chip(job.state);
  const [name, place, more] = [h('span.title'), h('span.hint'), h('span.hint')];
  const list = h('ul');
  const node = h(
    'li',
    {},
    h(
      'div.flowrow',
      {},
      badge,
      h(href ? 'a' : 'b', { href }, name),
      place,
      more,
    ),
    list,
  );
  return {
    job,
    href,
    node,
    list,
    draw() {
      const state = job.state || LOADING;
      badge.dataset.state = state;
      say(badge.lastChild, state);
      say(name, job.name || job.jobId);
      say(place, job.name ? `${job.queue} / ${job.jobId}` : job.queue);
      const part = percentOf(job.progress);
      const going = part === null ? wordsOf(job.progress) : `${Math.round(part)} %`;
      say(more, line((state === 'failed' && job.reason) || (state === 'active' && going) || '', TEXT));
    },
  };
}
