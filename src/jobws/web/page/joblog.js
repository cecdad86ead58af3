/** The lines that a job's worker writes, as they come. Following can be paused; what comes meanwhile is kept. */

import { h, perFrame, say } from './dom.js';
import { number, plural } from './format.js';

const MOST = 5000;

export function JobLog() {
  const body = h('div.loglines', { tabindex: '0', role: 'log', 'aria-label': 'Log of the job', 'aria-live': 'off', onscroll: () => !asked && follow(atEnd()) });
  const button = h('button', { type: 'button', onclick: () => (follow(!following), draw()) });
  const count = h('span.hint');
  const node = h('section.panel', { hidden: true }, h('div.panelhead', {}, h('h2', {}, 'Log'), count, button), body);
  let following = true;
  let asked = false;
  let waiting = [];
  let total = 0;

  const atEnd = () => body.scrollTop + body.clientHeight >= body.scrollHeight - 12;

  function follow(on) {
    following = on;
    say(button, on ? 'Pause' : waiting.length ? `Follow (${number(waiting.length)} new)` : 'Follow');
    button.setAttribute('aria-pressed', on);
    if (on) draw();
  }

  const draw = perFrame(() => {
    if (!following) return follow(false);
    body.append(...waiting.splice(0));
    while (body.children.length > MOST) body.firstChild.remove();
    asked = true;
    body.scrollTop = body.scrollHeight;
    requestAnimationFrame(() => (asked = false));
  });
  follow(true);
  return {
    node,
    take({ lines, first, gap, truncated }) {
      node.hidden = false;
      if (gap) waiting.push(h('p.gap', {}, 'Lines may be missing here.'));
      waiting.push(...lines.map((text, index) => h('p', {}, h('span.n', { 'aria-hidden': 'true' }, first + index + 1), h('span', {}, text))));
      if (truncated) waiting.push(h('p.gap', {}, 'A line was too long, and is cut.'));
      total += lines.length;
      say(count, plural(total, 'line'));
      draw();
    },
  };
}
