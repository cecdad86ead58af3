/** The popup: the watched jobs, live, as the store has them. All that a job brings is put into the page as text. */

import { jobIn, written } from './naming.js';
import { everything, forget, isOutcome, watch } from './store.js';
import { CONNECTION } from './telling.js';

const find = (id) => document.getElementById(id);
const rows = new Map(); // the elements, by the key of their job

/** Set a text, if it is another one: the same text again would be read out again. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show an element with a text, or hide it without one. */
function sayIfAny(element, text) {
  element.hidden = !text;
  say(element, text ?? '');
}

function makeRow(key) {
  const element = find('row').content.firstElementChild.cloneNode(true);
  const part = Object.fromEntries(
    ['name', 'state', 'remove', 'called', 'since', 'text'].map((each) => [each, element.querySelector(`.${each}`)]),
  );
  part.remove.addEventListener('click', () => {
    (element.nextElementSibling ?? element.previousElementSibling)?.querySelector('.remove').focus();
    forget([key]);
  });
  return { ...part, element, progress: element.querySelector('progress'), before: undefined };
}

/** Returns how long ago a time was, in one unit. */
function ago(time) {
  const seconds = Math.max(0, Math.round((Date.now() - time) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** Returns how a progress is written: a percentage, or the words that watching.js has kept of it. */
const percentage = (progress) => (typeof progress === 'number' ? `${Math.round(progress)} %` : progress);

/** Returns where the bridge's page shows a job; null if the queue is not known. */
const linkTo = (bridge, { queue, jobId }) =>
  bridge && queue !== null ? `${bridge.url}/#/jobs/${encodeURIComponent(queue)}/${encodeURIComponent(jobId)}` : null;

function showRow(row, bridge, { queue, jobId, told, shown }) {
  const { state = 'looking' } = told;
  const over = isOutcome(state);
  const progress = over ? undefined : shown.progress;
  const moves = typeof progress === 'number';
  const name = written({ queue, jobId });
  say(row.name, shown.name || name);
  const link = linkTo(bridge, { queue, jobId });
  if (link) row.name.href = link;
  else row.name.removeAttribute('href');
  say(row.state, state === 'unknown' ? 'not there yet' : state);
  row.element.dataset.state = state;
  row.remove.setAttribute('aria-label', `Watch ${name} no longer`);
  row.progress.hidden = !moves || state !== 'active';
  if (moves) row.progress.value = progress;
  row.progress.setAttribute('aria-label', `Progress of ${name}`);
  say(row.called, [progress && percentage(progress), shown.name && name].filter(Boolean).join(' · '));
  row.called.title = shown.name ? name : '';
  say(row.since, told.at ? (over ? `${ago(told.at)} ago` : `for ${ago(told.at)}`) : '');
  sayIfAny(row.text, shown.note ?? shown.text);
  if (over && row.before && !isOutcome(row.before)) say(find('news'), `${name} ${state}`);
  row.before = state;
}

async function show() {
  const { bridge, connection, jobs } = await everything();
  for (const [key, { element }] of rows)
    if (!jobs.has(key)) {
      element.remove();
      rows.delete(key);
    }
  let place = null;
  for (const [key, job] of jobs) {
    if (!rows.has(key)) rows.set(key, makeRow(key));
    const row = rows.get(key);
    showRow(row, bridge, job);
    const next = place ? place.nextElementSibling : find('jobs').firstElementChild;
    if (row.element !== next) find('jobs').insertBefore(row.element, next);
    place = row.element;
  }
  const ended = [...jobs.values()].filter(({ told }) => isOutcome(told.state)).length;
  find('empty').hidden = jobs.size > 0;
  find('clear').hidden = !ended;
  find('connection').dataset.state = connection.state;
  say(find('connection'), connection.state === 'idle' ? '' : CONNECTION[connection.state][1]);
  sayIfAny(find('problem'), bridge ? connection.message : 'Which bridge has the jobs? Set it under “Bridge and token”.');
}

let due = false;
/** Show the store's state before the next frame is painted. */
function soon() {
  if (!due) requestAnimationFrame(() => ((due = false), show()));
  due = true;
}

find('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  const input = find('job');
  const job = jobIn(input.value);
  input.setCustomValidity(job ? '' : 'That is no job: write QUEUE/ID, an id, or a link to a job.');
  if (!input.reportValidity()) return;
  await watch(job);
  input.value = '';
});
find('job').addEventListener('input', ({ target }) => target.setCustomValidity(''));
find('clear').addEventListener('click', async () => {
  const { jobs } = await everything();
  await forget([...jobs].filter(([, { told }]) => isOutcome(told.state)).map(([key]) => key));
});
find('options').addEventListener('click', () => chrome.runtime.openOptionsPage());
chrome.storage.onChanged.addListener(soon);
setInterval(soon, 1000); // how long ago
chrome.runtime.sendMessage('awake').catch(() => {}); // starts the worker, if the browser has stopped it; it answers nothing
show();
