/** Watches that want the same have one subscription, so that a large result comes once, however many show it. */

import { JobUnknown, queueUnknown } from './errors.js';
import { OUTCOMES, wants } from './subscription.js';
import { keyOf } from './subscriptions.js';

/** Whether a member gets from the subscription what one of its own would bring. */
function brings({ chosen, acknowledged, alive, after }, { events, logs, strict }) {
  if (!chosen) return true;
  // A look-up that is under way may be of before a job was added.
  if (logs || (acknowledged ? !alive().length : after || strict)) return false;
  return events.every((name) => wants(chosen, name));
}

/** Of one connection: a function that begins to follow a job, and returns how to leave it. */
export function Sharing(subscriptions) {
  const latest = new Map(); // by job, the watcher that others may share

  function Group(key, queue, jobId) {
    let members = [];
    /** It takes no more; whom it had. */
    function over() {
      if (latest.get(key) === group) latest.delete(key);
      return members.splice(0);
    }
    const group = {
      until: true,
      events: [],
      logs: false,
      add(member) {
        members.push(member);
        group.events.push(...member.events);
        group.logs ||= member.logs;
        group.subscription ??= subscriptions.join(queue, jobId, group);
        return () => {
          if (!members.includes(member)) return;
          members = members.filter((each) => each !== member);
          if (members.length) return;
          over();
          subscriptions.leave(group.subscription);
        };
      },
      answer({ unknownQueue }, known) {
        if (known) return;
        const error = unknownQueue ? queueUnknown(jobId, queue) : new JobUnknown(jobId, queue);
        for (const { strict, refuse } of [...members]) if (strict) refuse(error);
      },
      deliver(frame) {
        const { event } = frame;
        const outcome = OUTCOMES.includes(event);
        for (const { events, logs, deliver } of outcome ? over() : [...members])
          if (outcome || event === 'gap' || (event === 'job-log' ? logs : wants(events, event))) deliver(frame);
      },
      refuse: (error) => over().forEach(({ refuse }) => refuse(error)),
    };
    latest.set(key, group);
    return group;
  }

  /** A member has `events`, `logs`, `strict` (no such job: it is refused), and `deliver`, `refuse` to be called. */
  return (queue, jobId, member) => {
    const key = keyOf(queue, jobId);
    const group = latest.get(key);
    return (group && brings(group.subscription, member) ? group : Group(key, queue, jobId)).add(member);
  };
}
