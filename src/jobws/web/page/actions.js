/** The actions on a job or a queue. Before each of them the viewer is asked. */

import { h } from './dom.js';
import { notify } from './notify.js';

const DONE = {
  retry: 'The job waits for another run.',
  promote: 'The job waits for a worker.',
  remove: 'The job was removed.',
};
const WHEN = {
  retry: ['failed'],
  promote: ['delayed'],
  remove: ['waiting', 'delayed', 'prioritized', 'waiting-children', 'completed', 'failed'],
};
const TITLES = {
  retry: 'Retry',
  promote: 'Promote',
  remove: 'Remove',
  'retry-failed': 'Retry all failed',
  pause: 'Pause',
  resume: 'Resume',
};

/** Asks a question. Resolves with whether it was answered with yes. */
export function confirm(question, yes, danger = false) {
  return new Promise((resolve) => {
    const node = h(
      'dialog',
      { 'aria-label': question, onclose: () => (resolve(node.returnValue === 'yes'), node.remove()) },
      h(
        'form',
        { method: 'dialog' },
        h('h2', {}, question),
        h(
          'div.buttons',
          {},
          h('button', { value: 'no' }, 'Cancel'),
          h(`button.${danger ? 'danger' : 'primary'}`, { value: 'yes' }, yes),
        ),
      ),
    );
    document.body.append(node);
    node.showModal();
  });
}

/**
 * Asks the viewer, does an action, and shows what came of it. Resolves with whether it was done. `about` has the `queue`, and the
 * `jobId` of an action on a job. Without a `question` it is done immediately. `done` is what to show then: a text, or a function
 * that makes it of the bridge's answer.
 */
export async function act(bridge, action, about, question, done) {
  if (question && !(await confirm(question, TITLES[action], action === 'remove'))) return false;
  try {
    const answer = await bridge.act(action, about);
    notify(typeof done === 'function' ? done(answer) : done);
    return true;
  } catch (error) {
    notify(error.message, 'bad');
    return false;
  }
}

/** Returns the buttons for the actions on a job that the rights allow. `draw()` shows those that its present state allows. */
export function Actions({ bridge }, job) {
  const { queue, jobId } = job;
  const buttons = Object.keys(WHEN)
    .filter((action) => bridge.rights.may(`write:jobs:${action}`, queue, jobId))
    .map((action) => [
      action,
      h(
        `button${action === 'remove' ? '.danger' : ''}`,
        {
          onclick: () =>
            act(bridge, action, { queue, jobId }, `${TITLES[action]} “${job.name || jobId}” of ${queue}?`, DONE[action]),
        },
        TITLES[action],
      ),
    ]);
  return {
    node: h('div.actions', {}, ...buttons.map(([, button]) => button)),
    draw() {
      for (const [action, button] of buttons) button.hidden = !WHEN[action].includes(job.state);
    },
  };
}
