/** The dialog that asks for a token, and the one that shows what it allows. */

import { h } from './dom.js';
import { time, whole } from './format.js';

/** Asks for a token until the bridge accepts one. */
export function TokenDialog(bridge) {
  const field = h('input', {
    type: 'password',
    name: 'token',
    autocomplete: 'off',
    spellcheck: 'false',
    required: true,
    'aria-describedby': 'token-hint',
  });
  const problem = h('p.problem', { role: 'alert' });
  const send = h('button.primary', { type: 'submit' }, 'Continue');
  const form = h(
    'form',
    { onsubmit: submit },
    h('h2', {}, 'This bridge needs a token'),
    h('label', {}, 'Token', field),
    h('p.hint', { id: 'token-hint' }, 'It stays in this tab, and is sent to this bridge alone.'),
    problem,
    h('div.buttons', {}, send),
  );
  const node = h(
    'dialog.token',
    { 'aria-label': 'Token', oncancel: (event) => bridge.who || event.preventDefault() },
    form,
  );

  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    problem.textContent = '';
    try {
      await bridge.use(field.value.trim());
      field.value = '';
      node.close();
    } catch (error) {
      problem.textContent = error.message;
      field.select();
    } finally {
      send.disabled = false;
    }
  }

  return {
    node,
    ask(reason = '') {
      problem.textContent = reason;
      if (!node.open) node.showModal();
      field.focus();
    },
  };
}

/** Shows who the viewer is to the bridge, and what is allowed. */
export function WhoDialog(bridge, tokens) {
  const node = h('dialog.who', { 'aria-label': 'Your rights' });
  return {
    node,
    show() {
      const { sub, scope, expires } = bridge.who ?? {};
      const entries = (scope ?? '').split(' ').filter(Boolean);
      node.replaceChildren(
        h(
          'div',
          {},
          h('h2', {}, sub ?? (bridge.token ? 'Your token' : 'No token needed')),
          expires && h('p', {}, 'Valid until ', h('time', { title: whole(expires) }, time(expires)), '.'),
          entries.length
            ? h(
                'ul.rights',
                {},
                ...entries.map((each) => h('li', {}, h('code', {}, each), each === 'admin' && ' everything')),
              )
            : h('p', {}, 'The application behind this bridge decides about each request.'),
          !bridge.rights.actions &&
            h('p.hint', {}, 'This bridge does not act on jobs: it has no keys, and was started without --allow-actions.'),
          h(
            'div.buttons',
            {},
            bridge.token &&
              h('button', { onclick: () => (node.close(), bridge.forget()) }, 'Forget token'),
            bridge.token && h('button', { onclick: () => (node.close(), tokens.ask()) }, 'Change'),
            h('button.primary', { onclick: () => node.close() }, 'Close'),
          ),
        ),
      );
      node.showModal();
    },
  };
}
