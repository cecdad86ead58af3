/** Lets watches of the same job share one subscription, so that the bridge sends a large result only once. */

import { JobUnknown, queueUnknown } from './errors.js';
import { OUTCOMES, wants } from './subscription.js';
import { keyOf } from './subscriptions.js';

/** Whether a member may share a subscription: it gets the same events as from a new one. */
function brings({ chosen, acknowledged, alive, after }, { events, logs, strict }) {
  if (!chosen) return true;
  // A look-up that has begun may not see a job that was added since.
  if (logs || (acknowledged ? !alive().length : after || strict)) return false;
  return events.every((name) => wants(chosen, name));
}

/** Returns the function that begins to watch a job on a connection. It returns a function that ends the watch. */
export function Sharing(subscriptions) {
  const latest = new Map(); // by `keyOf` the job, the group that new members may join

  function Group(key, queue, jobId) {
    let members = [];
    /** End the group: no member can join any more. Returns its members. */
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
        group.children ||= member.children;
        group.subscription ??= subscriptions.begin(queue, jobId, group);
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
        const { event, parent } = frame;
        const outcome = OUTCOMES.includes(event);
        for (const { events, logs, deliver } of outcome && !parent ? over() : [...members])
          if (outcome || event === 'gap' || (event === 'job-log' ? logs : wants(events, event))) deliver(frame);
      },
      refuse: (error) => over().forEach(({ refuse }) => refuse(error)),
      stopped(error) {
        subscriptions.leave(group.subscription);
        group.refuse(error);
      },
    };
    latest.set(key, group);
    return group;
  }

  /** A member has `events`, `logs`, `children`, `strict` (a missing job is an error), and the callbacks `deliver` and `refuse`. */
  return (queue, jobId, member) => {
    const key = keyOf(queue, jobId, member.children); // flows are not shared: events of the jobs below came already
    const group = latest.get(key);
    return (group && !member.children && brings(group.subscription, member) ? group : Group(key, queue, jobId)).add(member);
  };
}
