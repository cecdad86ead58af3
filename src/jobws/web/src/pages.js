/** Jobs that a page subscribes by hand, with `emit('subscribe-job', …)`, and whose events go to its handlers. */

import { asId, BAD_ID } from './following.js';
import { OUTCOMES, wants } from './subscription.js';
import { bytes, keyOf } from './subscriptions.js';

// Handlers of these names want no job events. Custom job events of such names come as `custom:<name>` [E3].
const OWN = 'connect disconnect connect_error transport error gap expiring log dropped job-log'.split(' ');
const byQueue = (position, queue) => (typeof position === 'string' ? { [queue]: position } : position);

export function Pages(jobs, subscriptions) {
  const pages = new Map(); // by job

  /** The watcher of what a page subscribed. */
  function Page(key, until) {
    const asked = [];
    const page = {
      asked,
      until: until === 'end',
      stays: true,
      get events() {
        return page.wanted ?? jobs.names.filter((name) => !OWN.includes(name) && bytes(name) <= 64);
      },
      answer: (result) => asked.splice(0).forEach((resolve) => resolve(result)),
      deliver({ event, data }, own) {
        if (!own) return; // a `gap` of all, which the page is told once
        if (page.until && OUTCOMES.includes(event)) pages.delete(key);
        jobs.fire(event, data);
      },
      refuse({ code = 'unavailable', message }) {
        pages.delete(key);
        page.answer({ error: { code, message } });
      },
    };
    pages.set(key, page);
    return page;
  }

  function subscribe({ jobId, queue, events, until, after, logs }) {
    const id = asId(jobId);
    if (!id) return { error: { code: 'bad-job-id', message: BAD_ID } };
    const key = keyOf(queue, id);
    const before = pages.get(key);
    const page = before ?? Page(key, until);
    if (events) page.wanted = events;
    if (logs !== undefined) page.logs = !!logs;
    if (before) subscriptions.renew(page.subscription);
    // A page may have kept positions itself.
    else page.subscription = subscriptions.join(queue, id, page, byQueue(after, queue), byQueue(logs?.after, queue));
    return new Promise((resolve) => page.asked.push(resolve));
  }

  function unsubscribe({ jobId, queue }) {
    const page = pages.get(keyOf(queue, asId(jobId)));
    if (page) {
      subscriptions.leave(page.subscription);
      page.refuse({ code: 'unsubscribed', message: 'it was left before the answer' });
    }
    return { left: !!page };
  }

  return {
    /** `subscribe-job` and `unsubscribe-job`: what a bridge would answer. */
    async ask(event, data) {
      const many = Array.isArray(data) || Array.isArray(data?.jobs);
      const { jobs: items, ...common } = Array.isArray(data) ? { jobs: data } : many ? data : { jobs: [data] };
      const about = event === 'subscribe-job' ? subscribe : unsubscribe;
      const each = (item) => about({ ...common, ...(typeof item === 'object' && item ? item : { jobId: item }) });
      const results = await Promise.all(items.map(each));
      if (many) return { request: event, results };
      return results[0].error ? results[0] : { request: event, ...results[0] };
    },

    /** A page says by its handlers which events it wants; this one is new. */
    handles(name) {
      if (!OWN.includes(name)) for (const { wanted, subscription } of pages.values()) if (!wanted) subscriptions.renew(subscription);
    },

    /** Whether what a whole queue brings comes through a subscription to the job, too: a page is told each event once. */
    tells: (event, data) =>
      [data?.queue, undefined].some((queue) => {
        const { acknowledged, chosen } = pages.get(keyOf(queue, data?.jobId))?.subscription ?? {};
        return acknowledged && wants(chosen, event);
      }),

    /** There will be no answers for now. */
    refuse: (answer) => pages.forEach((page) => page.answer(answer)),
  };
}
