/** Says how the connection is, where that is anything but live. */

import { h, write } from './dom.js';

const WORDS = {
  connecting: 'connecting …',
  reconnecting: 'reconnecting …',
  http: 'over HTTP',
  refused: 'not connected',
  live: 'live',
};

export const NOTE = `
.note { display: inline-flex; align-items: center; gap: 6px; font-size: 12.5px; color: var(--muted); white-space: nowrap; }
.note::before { content: ''; width: 7px; height: 7px; border-radius: 50%; background: var(--warn); }
.note[data-status=live]::before { background: var(--good); }
.note[data-status=refused]::before { background: var(--bad); }
`;

/** Returns `{node, show(client)}`: `show` writes a client's status (client.js) into `node`. With `always`, also that it is live. */
export function ConnectionNote({ always = false } = {}) {
  const node = h('span', { className: 'note', part: 'connection', hidden: !always });
  return {
    node,
    show(client) {
      const status = client?.status ?? 'connecting';
      node.hidden = !always && (status === 'live' || (status === 'connecting' && !client?.reason));
      node.dataset.status = status;
      node.title = client?.reason ?? '';
      write(node, WORDS[status]);
    },
  };
}
