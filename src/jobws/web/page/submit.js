/** Adds a job to a queue. The form begins with the data of the queue's last job, where the bridge shows data. */

import { h, say } from './dom.js';
import { link, missing } from './parts.js';
import { QueueHead } from './queuehead.js';

const OPTIONS = [
  ['attempts', 'Attempts', 1],
  ['delay', 'Delay (ms)', 0],
  ['priority', 'Priority', 0],
];
const STATES = ['completed', 'active', 'waiting', 'failed'];

export function SubmitView(page, queue) {
  const { bridge } = page;
  const head = QueueHead(page, queue, 'submit');
  const title = `Submit · ${queue}`;
  const forbidden = missing(bridge, 'write:jobs', 'the form for new jobs', queue);
  if (forbidden) return { node: h('section.view', {}, head.node, forbidden), title, close: head.close };
  const data = h('textarea', {
    name: 'data',
    rows: 9,
    spellcheck: 'false',
    'aria-describedby': 'data-hint',
    oninput: check,
  });
  const name = h('input', { name: 'name', placeholder: 'default' });
  const jobId = h('input', { name: 'job-id', placeholder: 'a random one' });
  const options = OPTIONS.map(([key, label, least]) => [
    key,
    label,
    h('input', { type: 'number', name: key, min: least, placeholder: least }),
  ]);
  const hint = h('span.hint', { id: 'data-hint' }, 'JSON');
  const problem = h('p.problem', { role: 'alert' });
  const button = h('button.primary', { type: 'submit' }, 'Submit');
  const form = h(
    'form.panel.submit',
    { onsubmit: send },
    h('label.wide', {}, h('span', {}, 'Data ', hint), data),
    h('label', {}, 'Name', name),
    h('label', {}, 'Job id', jobId),
    ...options.map(([, label, field]) => h('label', {}, label, field)),
    h('div.wide', {}, problem, h('div.buttons', {}, button)),
  );
  data.value = '{}';
  let sending = false;

  function check() {
    let text = '';
    try {
      JSON.parse(data.value);
    } catch (error) {
      text = error.message;
    }
    say(hint, text ? `This is not JSON: ${text}` : 'JSON');
    data.setAttribute('aria-invalid', text !== '');
    button.disabled = sending || text !== '';
  }

  async function send(event) {
    event.preventDefault();
    sending = button.disabled = true;
    say(problem, '');
    const opts = Object.fromEntries(
      options.flatMap(([key, , { value }]) => (value === '' ? [] : [[key, Number(value)]])),
    );
    const job = { data: JSON.parse(data.value), name: name.value || undefined, jobId: jobId.value || undefined, opts };
    try {
      const added = await bridge.post('jobs', { queue }, job);
      location.hash = link(queue, added.jobId);
    } catch (error) {
      say(problem, error.message);
      sending = false;
      check();
    }
  }

  /** Fills the form with the data and the name of the queue's last job, unless the viewer has begun to write. */
  async function example() {
    for (const state of STATES) {
      const { jobs } = await bridge.get('queue-jobs', { queue, state, limit: 1 });
      if (!jobs.length) continue;
      const last = await bridge.get('jobs', { queue, jobId: jobs[0].jobId });
      if (data.value !== '{}') return; // the viewer was faster
      if (last.data !== undefined) data.value = JSON.stringify(last.data, null, 2);
      if (!name.value) name.value = last.name;
      return check();
    }
  }
  let closed = false;
  let leave;
  if (bridge.rights.may('read:jobs', queue))
    example().catch(({ code }) => {
      if (code !== 'unknown-queue' || closed) return;
      // It may be one that its first job makes. If not, there is nothing to submit to.
      leave = bridge.follow(queue, ['added'], (event, { message, yet }) => {
        if (event === 'ended' && !yet) form.replaceWith(h('p.empty', {}, message));
      });
    });
  return {
    node: h('section.view', {}, head.node, form),
    title,
    close() {
      closed = true;
      leave?.();
      head.close();
    },
  };
}
