/** The jobs of one queue: what Redis has of them, page by page, and what happens while they are shown. */

import { apply, ENDED, isLater, Job, STATES, timeOf } from './model.js';
import { notify } from './notify.js';

const PAGE = 200;
const MOST = 10000; // jobs that are kept; the oldest ones that have ended go first

/**
 * Keeps the jobs of `queue`, in the order in which they were added. `changed(moved)` is called after each change. `moved` is true if
 * jobs came or went, or changed their state, so that the list is another one.
 */
export function Jobs(bridge, queue, changed) {
  const byId = new Map();
  const cursors = new Map(STATES.map((state) => [state, undefined])); // null: there is no further page
  let order = [];
  let most = MOST; // more are kept if they have not ended
  let loading = null;
  let begun = false;
  let left = false;
  const age = (job) => job.timestamp ?? 0;

  function take(event, data, id) {
    if (event === 'gap' || (event === 'ack' && !begun)) {
      begun = true;
      return void load(true);
    }
    if (data?.jobId === undefined || data.jobId === '') return;
    let job = byId.get(data.jobId);
    if (event === 'removed') return job && drop(job);
    if (!job) {
      // Of a job that was there before, only a snapshot says its name.
      job = Job(queue, data.jobId);
      byId.set(data.jobId, job);
      order.push(job);
      if (event !== 'added') look(job);
    }
    if (id && job.at && !isLater(id, job.at)) return; // its snapshot is younger
    const moved = apply(job, event, data, timeOf(id));
    job.at = id ?? job.at;
    changed(moved || event === 'added');
    if (order.length > most) forget();
  }

  function drop(job) {
    byId.delete(job.jobId);
    job.state = 'removed';
    order = order.filter((each) => each !== job);
    changed(true);
  }

  function forget() {
    const gone = new Set(order.filter(({ state }) => ENDED.includes(state)).slice(0, MOST / 10));
    order = order.filter((each) => !gone.has(each));
    for (const { jobId } of gone) byId.delete(jobId);
    most = Math.max(MOST, order.length + MOST / 10);
    changed(true);
  }

  const wanted = new Set();
  let asking = 0;
  /** Looks up a job that no page has brought, together with others that are found at about the same time. */
  function look(job) {
    wanted.add(job.jobId);
    asking ||= setTimeout(async () => {
      asking = 0;
      const jobs = [...wanted];
      wanted.clear();
      const { results = [] } = await bridge.post('lookup', {}, { jobs, queue }).catch(() => ({}));
      for (const { jobs: found = [] } of results) found.forEach(merge);
      sort();
    }, 300);
  }

  function merge(snapshot) {
    const known = byId.get(snapshot.jobId);
    // What events have told since is younger than a snapshot.
    if (known && isLater(known.at, snapshot.at))
      return void Object.assign(known, { ...snapshot, ...known, name: snapshot.name, timestamp: snapshot.timestamp });
    const job = Object.assign(known ?? Job(queue, snapshot.jobId), snapshot);
    if (known) return;
    byId.set(job.jobId, job);
    order.push(job);
  }

  function sort() {
    if (left) return;
    order.sort((a, b) => age(a) - age(b));
    changed(true);
  }

  /** Loads the next page of each state that has one, or with `again` the first page of each state. */
  async function load(again = false, states = STATES) {
    if (loading) return loading;
    loading = Promise.all(
      states.filter((state) => again || cursors.get(state) !== null).map((state) => page(state, again)),
    );
    await loading.catch((error) => left || notify(error.message, 'bad'));
    loading = null;
    sort();
  }

  async function page(state, again) {
    const query = { state, limit: PAGE, cursor: again ? undefined : cursors.get(state) };
    const { jobs, cursor } = await bridge.get(`queues/${encodeURIComponent(queue)}/jobs`, query);
    if (!again || cursors.get(state) === undefined) cursors.set(state, cursor);
    jobs.forEach(merge);
  }

  const leave = bridge.follow(queue, ['*'], take);
  return {
    byId,
    /** The jobs, the oldest first. */
    get order() {
      return order;
    },
    more: (states) => load(false, states),
    hasMore: (states) => states.some((state) => cursors.get(state)),
    close() {
      left = true;
      leave();
      clearTimeout(asking);
    },
  };
}
