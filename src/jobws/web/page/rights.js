/** What the viewer may do, from the `scope` that `GET /whoami` tells (docs/access.md). */

function part(text) {
  try {
    return text === '*' ? null : decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Returns one entry of a scope: the action that it allows, and in which queue and for which job; null means every one. */
function entry(text) {
  const [verb, noun, place, suffix] = text.split(':');
  const [queue, job = '*'] = (place ?? '*').split('/');
  const children = suffix === 'children';
  return {
    action: [verb, noun, !children && suffix].filter(Boolean).join(':'),
    queue: part(queue),
    job: part(job),
    children,
  };
}

/**
 * Returns the rights of `who`, the answer of `GET /whoami`. If an authorizer decides, there is no scope: everything is
 * offered, and the bridge refuses what is not allowed.
 */
export function Rights({ scope = '', actions = true } = {}) {
  const entries = scope.split(' ').filter(Boolean).map(entry);
  const all = !entries.length || entries.some(({ action }) => action === 'admin');
  const reads = entries.filter(({ action }) => action === 'read:jobs');
  const single =
    !all && reads.length === 1 && entries.every(({ action }) => action !== 'read:queues') ? reads[0] : null;

  function may(action, queue, job) {
    if (!actions && /^write:.*:/.test(action)) return false;
    return (
      all ||
      entries.some(
        (each) => each.action === action && (each.queue ?? queue) === queue && (each.job === null || each.job === job),
      )
    );
  }
  return {
    entries,
    all,
    /** Whether the bridge acts on jobs at all. */
    actions,
    /** Whether `action` is allowed for a job, or for a whole queue; without `queue`, for any queue. */
    may: (action, queue, job) =>
      queue === undefined
        ? all || entries.some((each) => each.action === action && (actions || !/^write:.*:/.test(action)))
        : may(action, queue, job),
    /** The only job that may be read, as `{queue, job}`; otherwise null. */
    only: single && single.queue !== null && single.job !== null ? single : null,
    /** Of the log, `only` is the queue whose lines may be read, or null for all. */
    logs: {
      only:
        all || entries.some(({ action, queue }) => action === 'read:logs' && queue === null)
          ? null
          : (entries.find(({ action }) => action === 'read:logs')?.queue ?? null),
    },
    /** The queues that the rights name. */
    queues: [...new Set(entries.map(({ queue }) => queue).filter((each) => each !== null))],
  };
}
