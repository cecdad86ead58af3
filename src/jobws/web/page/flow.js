/** The flow of a job: all jobs below it, as a tree, with their states as they change. */

import { percentOf } from '../src/elements/progress.js';
import { h, perFrame, say } from './dom.js';
import { line, number, plural } from './format.js';
import { apply, ENDED, isLater, Job, merge, timeOf } from './model.js';
import { chip, link, LOADING } from './parts.js';

const PORTION = 200; // jobs that are looked up together
const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);

/**
 * Watches the flow of the job `root` (model.js). Returns `{node, watch(), close()}`; the node is hidden while no job below is known.
 * After the job has ended, `watch` begins again.
 */
export function Flow(bridge, { queue, jobId }) {
  const root = { queue, jobId };
  const nodes = new Map();
  const tree = h('ul.flow');
  const count = h('span.hint');
  const node = h('section.panel', { hidden: true }, h('div.panelhead', {}, h('h2', {}, 'Flow'), count), tree);
  const stop = new AbortController();
  const unnamed = new Set();
  let asking;
  const draw = perFrame(() => nodes.forEach((each) => each.draw()));

  function child({ queue, jobId }, parent) {
    const key = keyOf(queue, jobId);
    const known = nodes.get(key);
    if (known?.placed || (known && !parent)) return known;
    const found = known ?? Node(Job(queue, jobId));
    nodes.set(key, found);
    // Jobs further below may tell before the one above them has told where it is.
    const isBelowRoot = !parent || (parent.queue === root.queue && parent.jobId === root.jobId);
    found.placed = !!parent;
    (isBelowRoot ? tree : child(parent).list).append(found.node);
    node.hidden = false;
    unnamed.add(found.job);
    asking ??= setTimeout(look, 200);
    return found;
  }

  /** Looks up jobs that were added before this began, since their events do not tell their names. */
  async function look() {
    asking = null;
    const portion = [...unnamed].slice(0, PORTION);
    for (const job of portion) unnamed.delete(job);
    const jobs = portion.map(({ queue, jobId }) => ({ queue, jobId }));
    const { results = [] } = jobs.length ? await bridge.post('lookup', {}, { jobs }).catch(() => ({})) : {};
    for (const { jobs: found = [] } of results)
      for (const snapshot of found) {
        const known = nodes.get(keyOf(snapshot.queue, snapshot.jobId))?.job;
        if (known) merge(known, snapshot);
      }
    const { tree: counts } = await bridge.get('jobs', { ...root, children: 1 }).catch(() => ({}));
    const { done, failed, total } = counts ?? {};
    node.hidden = !total && !nodes.size;
    say(
      count,
      total ? `${number(done)} of ${plural(total, 'job')} done${failed ? `, ${number(failed)} failed` : ''}` : '',
    );
    draw();
    if (unnamed.size && !stop.signal.aborted) asking ??= setTimeout(look, 200);
  }

  /** Looks up all of it, since events may be missing. */
  function again() {
    for (const { job } of nodes.values()) {
      unnamed.add(job);
      job.at = undefined; // in a stream that is another one, positions begin again
    }
    asking ??= setTimeout(look, 200);
  }

  let watching = false;
  /** Follows the jobs below until the root has ended. One that is retried is followed again; one that the bridge refuses is not. */
  async function watch() {
    if (watching) return;
    watching = true;
    const watched = bridge.jobs.watch(root.jobId, {
      queue: root.queue,
      children: true,
      events: ['*'],
      signal: stop.signal,
    });
    for await (const { event, data, id, parent } of watched)
      if (event === 'gap') again();
      else if (parent) {
        const { job } = child(data, parent);
        if (id && job.at && !isLater(id, job.at)) continue; // its snapshot is younger
        apply(job, event, data, timeOf(id) ?? bridge.now());
        job.at = id ?? job.at;
        if (ENDED.includes(event)) asking ??= setTimeout(look, 500);
        draw();
      }
    watching = false;
  }

  const begin = () => watch().catch(() => {}); // without the right to it, there is no flow here
  look();
  begin();
  return {
    node,
    watch: begin,
    close() {
      stop.abort();
      clearTimeout(asking);
      draw.stop();
    },
  };
}

function Node(job) {
  const badge = chip(job.state);
  const [name, more] = [h('span.title'), h('span.hint')];
  const list = h('ul');
  const node = h(
    'li',
    {},
    h(
      'div.flowrow',
      {},
      badge,
      h('a', { href: link(job.queue, job.jobId) }, name),
      h('span.hint', {}, `${job.queue} / ${job.jobId}`),
      more,
    ),
    list,
  );
  return {
    job,
    node,
    list,
    draw() {
      const state = job.state || LOADING;
      badge.dataset.state = state;
      say(badge.lastChild, state);
      say(name, job.name || job.jobId);
      const part = percentOf(job.progress);
      say(
        more,
        state === 'failed' && job.reason
          ? line(job.reason, 80)
          : state === 'active' && part !== null
            ? `${Math.round(part)} %`
            : '',
      );
    },
  };
}
