/** Ctrl-K: goes to any queue, job or view by keyboard. */

import { h } from './dom.js';
import { link, queueLink } from './parts.js';

const MOST = 12;

/** Returns `{node, open()}`: the dialog, and what opens it. */
export function Palette({ bridge, queues }) {
  const list = h('ul', { id: 'places', role: 'listbox', 'aria-label': 'Places' });
  const field = h('input', {
    type: 'search',
    role: 'combobox',
    'aria-expanded': 'true',
    'aria-controls': 'places',
    'aria-label': 'Go to a queue or a job',
    placeholder: 'A queue, or the id of a job',
    oninput: find,
    onkeydown: press,
  });
  const node = h(
    'dialog.palette',
    { 'aria-label': 'Go to', onclick: (event) => event.target === node && node.close() },
    field,
    list,
  );
  let chosen = 0;
  let asked = 0;

  function show(places) {
    chosen = 0;
    list.replaceChildren(
      ...places
        .slice(0, MOST)
        .map(({ href, text, about }, index) =>
          h(
            'li',
            { id: `place-${index}`, role: 'option', onclick: () => go(href), 'data-href': href },
            h('span', {}, text),
            h('span.hint', {}, about),
          ),
        ),
    );
    choose(0);
  }

  function choose(next) {
    const { length } = list.children;
    chosen = length ? (next + length) % length : 0;
    [...list.children].forEach((each, index) => each.setAttribute('aria-selected', index === chosen));
    field.setAttribute('aria-activedescendant', length ? `place-${chosen}` : '');
    list.children[chosen]?.scrollIntoView({ block: 'nearest' });
  }

  async function find() {
    const text = field.value.trim();
    const round = ++asked;
    const views = [
      { href: '#/', text: 'Queues', about: 'view' },
      { href: '#/logs', text: 'Logs', about: 'view' },
    ];
    const named = queues.sorted().flatMap(({ label }) => [
      { href: queueLink(label), text: label, about: 'queue' },
      { href: queueLink(label, 'failed'), text: `${label} failed`, about: 'failed jobs by reason' },
      { href: queueLink(label, 'submit'), text: `${label} submit`, about: 'a new job' },
    ]);
    const words = text.toLowerCase().split(/\s+/);
    const places = [...named, ...views].filter((each) => words.every((word) => each.text.toLowerCase().includes(word)));
    show(text ? places : [...named.filter(({ about }) => about === 'queue'), ...views]);
    // `QUEUE/ID` names a job; an id alone stands for the jobs of that id in every queue.
    // The last label that fits is the longest one, since labels are sorted after their beginnings.
    const queue = queues.sorted().findLast(({ label }) => text.startsWith(`${label}/`))?.label;
    const jobId = queue === undefined ? text : text.slice(queue.length + 1);
    if (!jobId) return;
    const found = await bridge.get('jobs', { jobId, queue }).catch(() => ({ jobs: [] }));
    if (round !== asked) return;
    const jobs = (found.jobs ?? [found]).map((job) => ({
      href: link(job.queue, job.jobId),
      text: job.name || job.jobId,
      about: `${job.state} job ${job.jobId} of ${job.queue}`,
    }));
    show([...jobs, ...places]);
  }

  function press(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) choose(chosen + step);
    else if (event.key === 'Enter') go(list.children[chosen]?.dataset.href);
    else return;
    event.preventDefault();
  }

  function go(href) {
    if (!href) return;
    node.close();
    location.hash = href;
  }

  return {
    node,
    open() {
      if (node.open || !bridge.who || bridge.rights.only) return;
      field.value = '';
      find();
      node.showModal();
      field.focus();
    },
  };
}
