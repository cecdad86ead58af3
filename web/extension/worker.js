/**
 * The service worker. The browser stops it when it is idle, and may stop it at any time. While a WebSocket is open, its pings keep it
 * awake. Every event below wakes it, and then this module runs as a whole: it connects, and goes on from its positions.
 */

import { io } from './jobws-all.js';
import { jobIn } from './naming.js';
import { clean, everything, isOutcome, watch } from './store.js';
import { showBadge, STUCK, tellEnd, tellNothingFound, tellStuck } from './telling.js';
import { Watching } from './watching.js';

// The shortest interval that browsers allow.
const ALARM_MINUTES = 0.5;

const watching = Watching(io, tellEnd, tellStuck);

async function follow() {
  await watching.follow();
  await showBadge();
  const { jobs } = await everything();
  if ([...jobs.values()].every(({ told }) => isOutcome(told.state))) await chrome.alarms.clear('wake');
  else if (!(await chrome.alarms.get('wake'))) await chrome.alarms.create('wake', { periodInMinutes: ALARM_MINUTES });
}

let last = Promise.resolve();
/** Calls `follow`, after the calls before have ended. */
const wake = () => (last = last.then(follow, follow));

chrome.runtime.onInstalled.addListener(async () => {
  await chrome.contextMenus.removeAll();
  chrome.contextMenus.create({ id: 'watch', title: 'Watch this job', contexts: ['link', 'selection'] });
});
chrome.contextMenus.onClicked.addListener(async ({ linkUrl = '', selectionText = '' }) => {
  const job = jobIn(linkUrl) ?? jobIn(selectionText);
  await (job ? watch(job) : tellNothingFound());
});
chrome.notifications.onClicked.addListener(async (id) => {
  await chrome.notifications.clear(id);
  if (id === STUCK) await chrome.runtime.openOptionsPage();
  else await chrome.action.openPopup().catch(() => {}); // no window of the browser is open
});
chrome.storage.onChanged.addListener((changes) => {
  if (Object.keys(changes).some((name) => !name.startsWith('shown:'))) wake();
});
chrome.alarms.onAlarm.addListener(() => {
  watching.refresh();
  wake();
});
chrome.runtime.onStartup.addListener(clean);
chrome.runtime.onMessage.addListener(() => {}); // from the popup, to wake the worker
wake();
