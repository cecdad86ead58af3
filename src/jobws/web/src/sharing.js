/** Watches that want the same have one subscription, so that a large result comes once, however many show it. */

import { JobUnknown } from './errors.js';
import { OUTCOMES } from './subscription.js';

/** A watcher for several members: those have `events`, `logs`, `strict` (no such job: refused), and `deliver`, `refuse`. */
class Group {
  until = true;
  #members = new Set();
  #subscription = null;
  #over;

  /** `over` is called when it takes no more. */
  constructor(over) {
    this.#over = over;
  }

  get events() {
    return [...this.#members].flatMap(({ events }) => events);
  }

  get logs() {
    return [...this.#members].some(({ logs }) => logs);
  }

  /** Whether a member gets here what a subscription of its own would bring. */
  takes({ events, logs, strict }) {
    const { chosen, acknowledged, seen, after } = this.#subscription;
    if (!chosen) return true;
    // A look-up that is under way may be of before a job was added.
    if (logs || (acknowledged ? !seen.size : after || strict)) return false;
    return chosen[0] === '*' || events.every((name) => chosen.includes(name));
  }

  /** Returns how to leave. */
  add(member, { subscriptions }, queue, jobId) {
    this.#members.add(member);
    this.#subscription ??= subscriptions.join(queue, jobId, this);
    return () => {
      if (!this.#members.delete(member) || this.#members.size) return;
      this.#over();
      subscriptions.leave(this.#subscription);
    };
  }

  answer(_, known) {
    const { jobId, queue } = this.#subscription;
    if (!known) for (const member of [...this.#members]) if (member.strict) member.refuse(new JobUnknown(jobId, queue));
  }

  deliver(frame) {
    const { event } = frame;
    const all = event === 'gap' || OUTCOMES.includes(event);
    const members = [...this.#members];
    if (all && event !== 'gap') this.#end();
    for (const member of members) {
      const { events, logs } = member;
      if (all || (event === 'job-log' ? logs : events.includes('*') || events.includes(event))) member.deliver(frame);
    }
  }

  refuse(error) {
    const members = [...this.#members];
    this.#end();
    for (const member of members) member.refuse(error);
  }

  #end() {
    this.#members.clear();
    this.#over();
  }
}

/** The last group of each job, of a connection. */
export class Sharing {
  #groups = new Map();

  /** Begin to follow a job; returns how to leave it. */
  join(connection, queue, jobId, member) {
    const key = JSON.stringify([queue, jobId]);
    let group = this.#groups.get(key);
    if (!group?.takes(member)) {
      const made = (group = new Group(() => this.#groups.get(key) === made && this.#groups.delete(key)));
      this.#groups.set(key, made);
    }
    return group.add(member, connection, queue, jobId);
  }
}
