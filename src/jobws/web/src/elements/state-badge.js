/** A badge that says a job's state. */

import { h, write } from './dom.js';

// What people read, and how it looks.
const STATES = {
  '': ['…', 'quiet'],
  waiting: ['waiting', 'quiet'],
  prioritized: ['prioritized', 'quiet'],
  delayed: ['delayed', 'warn'],
  'waiting-children': ['waiting for children', 'warn'],
  paused: ['paused', 'warn'],
  active: ['active', 'accent'],
  completed: ['completed', 'good'],
  failed: ['failed', 'bad'],
  removed: ['removed', 'quiet'],
  missing: ['no such job', 'quiet'],
  refused: ['refused', 'bad'],
};

/** Returns the words for a state. */
export const wordsFor = (state) => STATES[state]?.[0] ?? state;

export const BADGE = `
.badge {
  --tone: var(--muted);
  display: inline-flex; align-items: center; gap: 6px; padding: 1px 10px 1px 8px; border-radius: 99px; white-space: nowrap;
  font-size: 12.5px; font-weight: 600; color: var(--tone);
  background: color-mix(in srgb, var(--tone) 11%, transparent);
}
.badge::before { content: ''; width: 7px; height: 7px; border-radius: 50%; background: currentColor; }
.badge[data-tone=accent] { --tone: var(--accent); }
.badge[data-tone=good] { --tone: var(--good); }
.badge[data-tone=bad] { --tone: var(--bad); }
.badge[data-tone=warn] { --tone: var(--warn); }
.badge[data-tone=accent]::before { animation: beat 1.4s ease-in-out infinite; }
@keyframes beat { 50% { opacity: .35; transform: scale(.75); } }
`;

/** Returns `{node, show(state)}`. The states are those of job.js. */
export function StateBadge() {
  const node = h('span', { className: 'badge', part: 'state' });
  return {
    node,
    show(state) {
      write(node, wordsFor(state));
      node.dataset.tone = STATES[state]?.[1] ?? 'quiet';
    },
  };
}
