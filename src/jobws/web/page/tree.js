/** Shows a JSON value as a tree that opens, of which only what is open is built. Nothing of it is HTML; links are http(s) only. */

import { h } from './dom.js';
import { number } from './format.js';

const ITEMS = 100; // entries that are shown together
const CHARACTERS = 1500; // of a string, before the rest is asked for
const OPEN = 2; // levels that are open in the beginning, if they are small
const SMALL = 30;

/** Returns the element for a value. */
export const Tree = (value) => h('div.tree', {}, node(null, value, 0));

const isBranch = (value) => value !== null && typeof value === 'object';

function node(key, value, depth) {
  const name = key === null ? null : h('span.key', {}, `${key}`);
  if (!isBranch(value)) return h('div.leaf', {}, name, leaf(value));
  const entries = Array.isArray(value) ? value.map((each, index) => [index, each]) : Object.entries(value);
  const kind = Array.isArray(value) ? `[${number(entries.length)}]` : `{${number(entries.length)}}`;
  if (!entries.length) return h('div.leaf', {}, name, h('span.kind', {}, Array.isArray(value) ? '[]' : '{}'));
  const inside = h('div.inside');
  const branch = h('details', { ontoggle: build }, h('summary', {}, name, h('span.kind', {}, kind)), inside);
  branch.open = depth < OPEN && entries.length <= SMALL;
  let built = false;
  function build() {
    if (!branch.open || built) return;
    built = true;
    more(0);
  }
  function more(from) {
    inside.append(...entries.slice(from, from + ITEMS).map(([each, child]) => node(each, child, depth + 1)));
    const rest = entries.length - from - ITEMS;
    if (rest > 0) inside.append(h('button.rest', { type: 'button', onclick: (event) => (event.target.remove(), more(from + ITEMS)) }, `${number(rest)} more`));
  }
  build();
  return branch;
}

function leaf(value) {
  if (typeof value !== 'string') return h(`span.value.${value === null ? 'null' : typeof value}`, {}, String(value));
  if (isWeb(value)) return h('a.value.link', { href: value, target: '_blank', rel: 'noopener noreferrer' }, value);
  if (value.length <= CHARACTERS) return h('span.value.string', {}, value || '""');
  const text = h('span.value.string', {}, `${value.slice(0, CHARACTERS)}…`);
  const rest = h('button.rest', { type: 'button', onclick: () => ((text.textContent = value), rest.remove()) }, `all ${number(value.length)} characters`);
  return h('span', {}, text, rest);
}

/** Whether a text is an address of the web that may be a link. */
export function isWeb(text) {
  if (!/^https?:\/\/\S+$/i.test(text) || text.length > 2000) return false;
  try {
    return ['http:', 'https:'].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}
