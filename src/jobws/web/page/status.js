/** Says in the header whether what the page shows is live. It is always visible, and screen readers are told. */

import { h, say } from './dom.js';

const WORDS = {
  connecting: 'Connecting',
  live: 'Live',
  http: 'Over HTTP',
  reconnecting: 'Reconnecting',
  offline: 'No bridge',
  stopped: 'Stopped',
  token: 'No token',
};
const HINTS = {
  live: 'Events arrive over a WebSocket.',
  http: 'No WebSocket gets through this network, so events arrive over HTTP.',
  reconnecting: 'The connection was lost. Nothing is missed: what happens meanwhile is told after it is back.',
  token: 'This bridge serves only clients with a token.',
};

/** Returns `{node, tell(state, detail)}`; `tell` takes what `Bridge` tells (bridge.js). */
export function Status() {
  const word = h('span');
  const gap = h('button.gap', { type: 'button', hidden: true, onclick: () => (gap.hidden = true) });
  const node = h('div.status', {}, gap, h('span.pill', { role: 'status' }, h('i', { 'aria-hidden': 'true' }), word));
  const pill = node.lastChild;

  function show(state, detail) {
    node.dataset.state = state;
    say(word, WORDS[state]);
    pill.title = [HINTS[state], detail].filter(Boolean).join(' ');
  }
  show('connecting');
  return {
    node,
    tell(state, detail) {
      if (state === 'gap') {
        say(gap, 'Gap');
        gap.title = `Events of ${detail ?? 'all queues'} are missing, since Redis no longer had them. Click to hide this.`;
        gap.setAttribute('aria-label', gap.title);
        gap.hidden = false;
      } else if (state === 'live')
        show(
          detail === 'websocket' ? 'live' : 'http',
          detail === 'polling' ? 'By polling: the network delays streams.' : '',
        );
      else if (state === 'begun') show('connecting');
      else if (WORDS[state]) show(state, detail);
    },
  };
}
