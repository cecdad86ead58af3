/** The lines that a job's worker writes, as they come. */

import { LogView } from '../src/elements/log-view.js';
import { h, say } from './dom.js';
import { plural } from './format.js';

const GAP = 'Lines may be missing here.';
const CUT = 'A line was too long, and is cut.';
const line = (text) => h(text === GAP || text === CUT ? 'div.lost' : 'div', {}, text || ' ');

/** Returns `{node, take(data)}`: a panel, which is hidden until there is a line, and what adds the lines of an event `job-log`. */
export function JobLog() {
  const view = LogView({ label: 'Log of the job', line });
  const count = h('span.hint');
  const node = h(
    'section.panel',
    { hidden: true },
    h('div.panelhead', {}, h('h2', {}, 'Log'), count, view.pause),
    view.node,
  );
  let total = 0;
  return {
    node,
    take({ lines, gap, truncated }) {
      node.hidden = false;
      view.add([...(gap ? [GAP] : []), ...lines, ...(truncated ? [CUT] : [])]);
      total += lines.length;
      say(count, plural(total, 'line'));
    },
  };
}
