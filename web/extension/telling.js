/** What the browser shows of the watched jobs outside of the extension's pages: the badge and notifications. */

import { everything, isOutcome } from './store.js';
import { written } from './naming.js';

// Of a notification's id, which may have 500 characters.
const LONGEST_ID = 500;
/** The id of the notification whose reader must give a token, or another bridge. */
export const STUCK = 'stuck';

/** By the connection's state: the colour of the badge, and how it is called. */
export const CONNECTION = {
  idle: ['#64748b', 'not connected'],
  connecting: ['#64748b', 'connecting'],
  live: ['#2563eb', 'live'],
  http: ['#2563eb', 'live over HTTP'],
  unreachable: ['#b45309', 'no connection'],
  token: ['#b91c1c', 'needs a token'],
  refused: ['#b91c1c', 'refused'],
};

/** Show on the badge how many jobs are watched that have not ended. */
export async function showBadge() {
  const { connection, jobs } = await everything();
  const running = [...jobs.values()].filter(({ told }) => !isOutcome(told.state)).length;
  const [color, called] = CONNECTION[connection.state];
  await chrome.action.setBadgeBackgroundColor({ color });
  await chrome.action.setBadgeTextColor({ color: '#ffffff' });
  await chrome.action.setBadgeText({ text: running ? String(running) : '' });
  await chrome.action.setTitle({ title: running ? `jobws: ${running} watched, ${called}` : 'jobws' });
}

/**
 * Tells that a job has ended. A second notification of the same job takes the place of the first. A result is not shown, since others
 * may see the screen.
 */
export const tellEnd = (key, job) =>
  notify(key, `${written(job)} ${job.told.state}`, job.told.state === 'failed' ? job.shown.text : (job.shown.name ?? ''));

/** Tell that jobs are not watched until the user does something. */
export const tellStuck = (message) => notify(STUCK, 'No job is watched now', message);

/** Tell that nothing was found to watch. */
export const tellNothingFound = () =>
  notify('nothing found', 'No job found there', 'A link to a job ends in /jobs/QUEUE/ID or /queue/QUEUE/ID. A selected text is an id, or QUEUE/ID.');

const notify = (id, title, message) =>
  chrome.notifications.create(id.slice(-LONGEST_ID), { type: 'basic', iconUrl: 'icons/128.png', title, message });
