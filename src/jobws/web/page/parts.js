/** Small parts that several views have. */

import { h } from './dom.js';

/** What stands for the state of a job of which nothing is known yet. */
export const LOADING = 'loading …';

/** Returns a node that shows a state of a job as a colour and a word. */
export function chip(state) {
  return h('span.chip', { 'data-state': state }, h('i', { 'aria-hidden': 'true' }), h('span', {}, state));
}

/** Returns a sentence, as a node, that the token lacks the `right` to see `what`; null if it has the right. */
export function missing({ rights }, right, what, queue, job) {
  if (rights.may(right, queue, job)) return null;
  const place =
    queue === undefined
      ? 'QUEUE'
      : encodeURIComponent(queue) + (job === undefined ? '' : `/${encodeURIComponent(job)}`);
  const [verb, noun, suffix] = right.split(':');
  const name = noun === 'logs' ? right : [verb, noun, place, suffix].filter(Boolean).join(':');
  return h('p.missing', {}, `To see ${what}, the token needs the right `, h('code', {}, name), '.');
}

export const link = (queue, jobId) => `#/jobs/${encodeURIComponent(queue)}/${encodeURIComponent(jobId)}`;
export const queueLink = (queue, view = '') => `#/queues/${encodeURIComponent(queue)}${view && `/${view}`}`;
