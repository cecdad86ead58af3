/** Says in the header whether what the page shows is live. It is always visible, and screen readers are told. */

import { h, say } from './dom.js';

const WORDS = {
  connecting: 'Connecting',
  live: 'Live',
  http: 'Over HTTP',
  reconnecting: 'Reconnecting',
  ended: 'Not live',
  offline: 'No bridge',
  stopped: 'Stopped',
  token: 'No token',
};
const HINTS = {
  live: 'Events arrive over a WebSocket.',
  http: 'No WebSocket gets through this network, so events arrive over HTTP.',
  reconnecting: 'The connection was lost. Nothing is missed: what happens meanwhile is told after it is back.',
  ended: 'The bridge has ended a subscription, which is tried again. Until then, some of this is old.',
  token: 'This bridge serves only clients with a token.',
};

/** Returns `{node, tell(state, detail)}`; `tell` takes what `Bridge` tells (bridge.js). */
export function Status() {
  const word = h('span');
  const gap = h('button.gap', { hidden: true, onclick: () => explain(gap) }, 'Gap');
  const pill = h('button.pill', { onclick: () => explain(pill) }, h('i', { 'aria-hidden': 'true' }), word);
  const sentence = h('span', { id: 'why' });
  const hide = h('button', { 'aria-describedby': 'why', onclick: close }, 'Hide');
  const why = h('div.why', { hidden: true }, sentence, hide);
  const node = h('div.status', {}, gap, h('span', { role: 'status' }, pill), why);
  let about = pill; // what is explained

  function explain(button) {
    about = button;
    say(sentence, about.title);
    why.hidden = !about.title;
    hide.focus();
  }

  function close() {
    why.hidden = true;
    if (about === gap) gap.hidden = true;
    pill.focus();
  }

  let ended; // why a subscription is over
  let last = [];

  function show(...now) {
    last = now;
    const broken = ended !== undefined && /^(live|http)$/.test(now[0]);
    const [state, detail] = broken ? ['ended', ended] : now;
    node.dataset.state = state;
    say(word, broken ? `${WORDS.ended}: ${ended}` : WORDS[state]);
    pill.title = [HINTS[state], detail].filter(Boolean).join(' ');
    say(sentence, about.title);
  }
  show('connecting');
  return {
    node,
    tell(state, detail) {
      if (state === 'gap') {
        gap.title = `Events of ${detail ?? 'all queues'} are missing, since Redis no longer had them.`;
        gap.hidden = false;
      } else if (state === 'live')
        show(
          detail === 'websocket' ? 'live' : 'http',
          detail === 'polling' ? 'By polling: the network delays streams.' : '',
        );
      else if (state === 'ended') {
        ended = detail;
        show(...last);
      } else if (state === 'begun') {
        ended = undefined;
        show('connecting');
      } else if (WORDS[state]) show(state, detail);
    },
  };
}
