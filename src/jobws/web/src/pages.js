/** Jobs that a page subscribes with `emit('subscribe-job', …)`. Their events go to the page's handlers. */

import { refusal } from './errors.js';
import { asId, BAD_ID } from './following.js';
import { Repeats } from './repeats.js';
import { OUTCOMES, wants } from './subscription.js';
import { bytes, keyOf } from './subscriptions.js';

// Handlers of these names get no job events. Custom job events with such a name come as `custom:<name>` [protocol.md, E3].
const OWN = 'connect disconnect connect_error transport error gap expiring ended log dropped job-log'.split(' ');
const byQueue = (position, queue) => (typeof position === 'string' ? { [queue]: position } : position);

export function Pages(jobs, subscriptions) {
  const pages = new Map(); // the watchers, by `keyOf` the job

  /** The watcher of one subscription of a page. */
  function Page(key, until) {
    const asked = [];
    const repeats = Repeats();
    const page = {
      asked,
      until: until === 'end',
      get events() {
        return page.wanted ?? jobs.names.filter((name) => !OWN.includes(name) && bytes(name) <= 64);
      },
      answer(result) {
        for (const { queue, state } of result.jobs ?? []) if (!OUTCOMES.includes(state)) repeats({ event: state, data: { queue } });
        asked.splice(0).forEach((resolve) => resolve(result));
      },
      deliver(frame, own) {
        const { event, data } = frame;
        if (!own || repeats(frame)) return; // a `gap` of the whole queue, which the page gets once, as a frame without `sub`
        if (page.until && OUTCOMES.includes(event)) pages.delete(key);
        jobs.fire(event, data, frame.id);
      },
      refuse(error) {
        pages.delete(key);
        page.stopped(error);
      },
      stopped: (error) => page.answer(refusal(error)),
    };
    pages.set(key, page);
    return page;
  }

  function subscribe({ jobId, queue, events, until, after, logs }) {
    const id = asId(jobId);
    if (!id) return refusal({ code: 'bad-job-id', message: BAD_ID });
    const key = keyOf(queue, id);
    const before = pages.get(key);
    const page = before ?? Page(key, until);
    if (events) page.wanted = events;
    if (logs !== undefined) page.logs = !!logs;
    if (before) subscriptions.want(page.subscription);
    // The page may pass positions that it has kept.
    else page.subscription = subscriptions.begin(queue, id, page, byQueue(after, queue), byQueue(logs?.after, queue));
    return new Promise((resolve) => page.asked.push(resolve));
  }

  function unsubscribe({ jobId, queue }) {
    const page = pages.get(keyOf(queue, asId(jobId)));
    if (page) {
      subscriptions.leave(page.subscription);
      page.refuse({ code: 'unsubscribed', message: 'left before the answer' });
    }
    return { left: !!page };
  }

  return {
    /** Serve `subscribe-job` and `unsubscribe-job`. Resolves with what a bridge would answer. */
    async ask(event, data) {
      const many = Array.isArray(data) || Array.isArray(data?.jobs);
      const { jobs: items, ...common } = Array.isArray(data) ? { jobs: data } : many ? data : { jobs: [data] };
      const about = event === 'subscribe-job' ? subscribe : unsubscribe;
      const each = (item) => about({ ...common, ...(typeof item === 'object' && item ? item : { jobId: item }) });
      const results = await Promise.all(items.map(each));
      if (many) return { request: event, results };
      return results[0].error ? results[0] : { request: event, ...results[0] };
    },

    /** Subscribe to the event `name`, for which the page has a new handler, unless the page chose its events. */
    handles(name) {
      if (!OWN.includes(name)) for (const { wanted, subscription } of pages.values()) if (!wanted) subscriptions.want(subscription);
    },

    /** Whether an event of a queue also comes through a subscription to its job. The page must get it only once. */
    tells: (event, data) =>
      [data?.queue, undefined].some((queue) => {
        const { acknowledged, chosen } = pages.get(keyOf(queue, data?.jobId))?.subscription ?? {};
        return acknowledged && wants(chosen, event);
      }),
  };
}
