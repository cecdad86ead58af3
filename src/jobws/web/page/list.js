/** A list of thousands of rows. Only those in sight are elements, and they stay where they are when others come. */

import { h, perFrame } from './dom.js';

const SPARE = 6; // rows above and below those in sight

/**
 * Returns `{node, show(items), draw(), toTop(), close()}`. `show` shows these items; the same object is the same row as before.
 * `Row(item)` makes the row of an item, `{node, draw()}`. `atEnd()` is called when the viewer comes near the last item, and
 * `above(count)` when the number of new items above those in sight has changed.
 */
export function VirtualList({ label, Row, atEnd, above = () => {} }) {
  const space = h('div.space');
  const node = h(
    'div.list',
    { role: 'list', 'aria-label': label, tabindex: '0', onkeydown: move, onscroll: () => draw() },
    space,
  );
  const rows = new Map(); // by item
  let items = [];
  let height = 44;
  let unseen = 0;
  const draw = perFrame(place);
  const resized = new ResizeObserver(() => draw());
  resized.observe(node);

  function place() {
    height = Number.parseFloat(getComputedStyle(node).getPropertyValue('--row')) || height;
    space.style.height = `${items.length * height}px`;
    const first = Math.max(0, Math.floor(node.scrollTop / height) - SPARE);
    const last = Math.min(items.length, Math.ceil((node.scrollTop + node.clientHeight) / height) + SPARE);
    const shown = new Set(items.slice(first, last));
    for (const [item, { node: row }] of rows)
      if (!shown.has(item) && !row.contains(document.activeElement)) {
        row.remove();
        rows.delete(item);
      }
    for (let index = first; index < last; index++) {
      const item = items[index];
      let row = rows.get(item);
      if (!row) {
        row = Row(item);
        row.node.setAttribute('role', 'listitem');
        rows.set(item, row);
        space.append(row.node);
      }
      const top = index * height; // rows are higher where the window is narrow
      if (row.top !== top) {
        row.top = top;
        row.node.style.transform = `translateY(${top}px)`;
        row.node.setAttribute('aria-posinset', index + 1);
      }
      row.node.setAttribute('aria-setsize', items.length);
      row.draw();
    }
    if (node.scrollTop < height) count(0);
    if (items.length && last >= items.length - SPARE) atEnd();
  }

  function count(rest) {
    if (rest !== unseen) above((unseen = rest));
  }

  /** Shows the items `next`. If the viewer has scrolled down, the first row in sight stays where it is. */
  function show(next) {
    const at = Math.floor(node.scrollTop / height);
    const there = new Set(next);
    let anchor = at;
    while (anchor < items.length && !there.has(items[anchor])) anchor++;
    const kept = node.scrollTop >= height && anchor < items.length ? items[anchor] : null;
    const shift = kept ? next.indexOf(kept) - anchor : 0;
    items = next;
    if (shift) {
      count(Math.max(0, unseen + shift));
      space.style.height = `${items.length * height}px`;
      node.scrollTop += shift * height;
    }
    place(); // in the same frame, or rows would be out of place for one
  }

  function move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (!step || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const focused = [...rows].find(([, { node: row }]) => row.contains(document.activeElement));
    const from = focused ? items.indexOf(focused[0]) : Math.ceil(node.scrollTop / height) - (step > 0 ? 1 : 0);
    const to = Math.min(items.length - 1, Math.max(0, from + step));
    const top = to * height;
    if (top < node.scrollTop) node.scrollTop = top;
    else if (top + height > node.scrollTop + node.clientHeight) node.scrollTop = top + height - node.clientHeight;
    place();
    rows.get(items[to])?.node.querySelector('a')?.focus({ preventScroll: true });
  }

  return {
    node,
    show,
    draw,
    toTop() {
      node.scrollTop = 0;
      draw();
    },
    close() {
      draw.stop();
      resized.disconnect();
    },
  };
}
