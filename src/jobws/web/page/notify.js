/** Short messages at the edge of the page, which screen readers read out. */

import { h } from './dom.js';

const SHOWN = 6000;
export const notices = h('div.notices', { role: 'status' });

/** Shows a message for some seconds. `kind` is `bad` if something did not work. */
export function notify(text, kind = 'good') {
  const node = h(`p.notice.${kind}`, {}, text);
  notices.append(node);
  setTimeout(() => node.remove(), SHOWN);
}
