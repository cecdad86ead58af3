/** Lines that come live: they scroll by, until the reader scrolls up or pauses. Then new ones wait, and nothing jumps. */

import { h, soon, write } from './dom.js';

// How many lines are in the page at most; older ones are removed.
const MOST = 1000;
// The reader counts as at the end if at most so many pixels are below.
const NEAR = 12;
// The colours that programs write for terminals.
const ESCAPES = /\x1b\[[0-9;]*[A-Za-z]/g;

export const LOG = `
.log { position: relative; border: 1px solid var(--line); border-radius: calc(var(--radius) - 2px); background: var(--sunken); overflow: hidden; }
.log .lines { max-height: var(--jobws-log-height, 260px); overflow-y: auto; padding: 8px 12px; font: 12.5px/1.6 var(--mono); overscroll-behavior: contain; }
.log .lines:focus-visible { outline-offset: -3px; border-radius: inherit; }
.log .lines > div { white-space: pre-wrap; unicode-bidi: isolate; }
.log .lines:empty::before { content: attr(data-empty); color: var(--muted); }
.log .follow { position: absolute; inset-inline-end: 10px; bottom: 10px; color: var(--accent); box-shadow: 0 1px 6px #0003; }
`;

/**
 * Returns a view of lines:
 * - `node`, and `pause`, a button that pauses and follows, for the place that the user of this view chooses;
 * - `add(lines)`: show new lines, which are texts, or nodes that `line` makes;
 * - `clear()`. `empty` stands there while there is no line.
 */
export function LogView({
  label,
  empty = 'No lines yet.',
  line = (text) => h('div', { textContent: text.replace(ESCAPES, '') }),
}) {
  const lines = h('div', {
    className: 'lines',
    part: 'lines',
    role: 'log',
    tabIndex: 0,
    'aria-label': label,
    'aria-live': 'off',
    'data-empty': empty,
  });
  const follow = h('button', { type: 'button', className: 'follow', part: 'follow', hidden: true });
  const pause = h('button', { type: 'button', part: 'pause', textContent: 'Pause' });
  const node = h('div', { className: 'log' }, lines, follow);
  let held = []; // lines that are not in the page yet
  let paused = ''; // by what: '', `scroll` or `button`

  const isAtEnd = () => lines.scrollHeight - lines.scrollTop - lines.clientHeight <= NEAR;

  function render() {
    if (!paused && held.length) {
      lines.append(...held.splice(0).slice(-MOST).map(line));
      while (lines.children.length > MOST) lines.firstChild.remove();
      lines.scrollTop = lines.scrollHeight;
    }
    follow.hidden = !paused || !(held.length || paused === 'scroll');
    write(follow, held.length ? `↓ ${held.length >= MOST ? `${MOST}+` : held.length} new` : '↓ Newest');
    write(pause, paused ? 'Follow' : 'Pause');
  }

  function become(next) {
    paused = next;
    soon(render);
    if (!paused) lines.scrollTop = lines.scrollHeight;
  }

  lines.onscroll = () => {
    if (paused !== 'button') become(isAtEnd() ? '' : 'scroll');
  };
  follow.onclick = () => become('');
  pause.onclick = () => become(paused ? '' : 'button');

  return {
    node,
    pause,
    add(more) {
      held = [...held, ...more].slice(-MOST);
      soon(render);
    },
    clear() {
      held = [];
      lines.replaceChildren();
      become('');
    },
  };
}
