/** The flow of a job: all jobs below it, as a tree, with their states as they change. */

import { h, perFrame, say } from './dom.js';
import { line, plural } from './format.js';
import { apply, fraction, Job, timeOf } from './model.js';
import { chip, link } from './parts.js';

const keyOf = (queue, jobId) => JSON.stringify([queue, jobId]);

/** Watches the flow of a job. The element is hidden while no job below is known. */
export function Flow(bridge, root) {
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
    let found = nodes.get(key);
    if (found) return found;
    found = Node(Job(queue, jobId));
    nodes.set(key, found);
    const above = parent && nodes.get(keyOf(parent.queue, parent.jobId));
    (above?.list ?? tree).append(found.node);
    node.hidden = false;
    say(count, plural(nodes.size, 'job'));
    unnamed.add(found.job);
    asking ??= setTimeout(look, 200);
    return found;
  }

  /** Events of a job that was there before do not say its name. */
  async function look() {
    asking = null;
    const jobs = [...unnamed].map(({ queue, jobId }) => ({ queue, jobId }));
    unnamed.clear();
    const { results = [] } = await bridge.post('lookup', {}, { jobs }).catch(() => ({}));
    for (const { jobs: found = [] } of results)
      for (const snapshot of found) {
        const known = nodes.get(keyOf(snapshot.queue, snapshot.jobId))?.job;
        if (known)
          Object.assign(known, { ...snapshot, ...(known.state && { state: known.state, progress: known.progress }) });
      }
    draw();
  }

  async function watch() {
    const watched = bridge.jobs.watch(root.jobId, {
      queue: root.queue,
      children: true,
      events: ['*'],
      signal: stop.signal,
    });
    for await (const { event, data, id, parent } of watched)
      if (parent) {
        apply(child(data, parent).job, event, data, timeOf(id) ?? bridge.now());
        draw();
      }
  }

  watch().catch(() => {}); // without the right to it, there is no flow here
  return {
    node,
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
      const state = job.state || 'waiting';
      badge.dataset.state = state;
      say(badge.lastChild, state);
      say(name, job.name || job.jobId);
      const part = fraction(job.progress);
      say(
        more,
        state === 'failed' && job.reason
          ? line(job.reason, 80)
          : state === 'active' && part !== null
            ? `${Math.round(part * 100)} %`
            : '',
      );
    },
  };
}
