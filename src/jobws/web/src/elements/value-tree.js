/** Any JSON value as a tree that people can open. Its texts may be anything: they are only ever shown as text. */

import { h, linked } from './dom.js';

// So many entries are shown of a list or an object, and so many characters of a text, until the user asks for more.
const ENTRIES = 100;
const CHARACTERS = 2000;
// The whole value is open from the beginning, and so are branches of it with at most so many entries.
const OPEN_ENTRIES = 3;

export const TREE = `
.tree { font: 12.5px/1.6 var(--mono); }
.tree ul { padding-inline-start: 17px; border-inline-start: 1px solid var(--line); margin-inline-start: 4px; }
.tree summary { width: fit-content; max-width: 100%; border-radius: 4px; }
.tree .key { color: var(--muted); }
.tree .text { color: var(--good); white-space: pre-wrap; unicode-bidi: isolate; }
.tree .number { color: var(--accent); }
.tree .word { color: var(--warn); }
.tree .count { color: var(--muted); }
.tree button { font-family: inherit; min-height: 0; padding: 0 8px; }
`;

const isBranch = (value) => value !== null && typeof value === 'object';
const entriesOf = (value) => (Array.isArray(value) ? value.map((each, index) => [index, each]) : Object.entries(value));
const plural = (count, word) =>
  `${count.toLocaleString()} ${count === 1 ? word.replace(/ies$/, 'y').replace(/s$/, '') : word}`;

/** Returns a node with the tree of a value. */
export function ValueTree(value) {
  return h('div', { className: 'tree', part: 'tree' }, isBranch(value) ? branch('', value, true) : leaf(value));
}

function leaf(value) {
  if (typeof value !== 'string')
    return h('span', { className: typeof value === 'number' ? 'number' : 'word', textContent: String(value) });
  const node = h('span', { className: 'text' }, value.length > CHARACTERS ? value.slice(0, CHARACTERS) : linked(value));
  if (value.length <= CHARACTERS) return node;
  const more = h('button', { type: 'button', textContent: `… show all ${plural(value.length, 'characters')}` });
  more.onclick = () => {
    node.textContent = value;
    more.remove();
  };
  return h('span', {}, node, ' ', more);
}

function branch(key, value, first = false) {
  const list = Array.isArray(value);
  const entries = entriesOf(value);
  const about = plural(entries.length, list ? 'items' : 'entries');
  const label = [...labelOf(key), h('span', { className: 'count', textContent: list ? `[${about}]` : `{${about}}` })];
  if (!entries.length)
    return h('span', {}, ...labelOf(key), h('span', { className: 'count', textContent: list ? '[ ]' : '{ }' }));
  const node = h('details', { open: first || entries.length <= OPEN_ENTRIES }, h('summary', {}, ...label));
  // Children are made when the branch is opened, since a value may have a hundred thousand of them.
  const fill = () => node.open && node.children.length === 1 && node.append(items(entries));
  node.addEventListener('toggle', fill);
  fill();
  return node;
}

const labelOf = (key) => (key === '' ? [] : [h('span', { className: 'key', textContent: `${key}: ` })]);

function items(entries) {
  const list = h('ul');
  const add = (from) => {
    for (const [key, value] of entries.slice(from, from + ENTRIES))
      list.append(h('li', {}, ...(isBranch(value) ? [branch(key, value)] : [...labelOf(key), leaf(value)])));
    const rest = entries.length - from - ENTRIES;
    if (rest <= 0) return;
    const more = h('button', { type: 'button', textContent: `… ${rest.toLocaleString()} more` });
    more.onclick = () => {
      more.parentNode.remove();
      add(from + ENTRIES);
    };
    list.append(h('li', {}, more));
  };
  add(0);
  return list;
}
