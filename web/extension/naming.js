/** Finds the job that a link or a text means. */

// Of a text, in characters. A job id has at most 512 bytes, and nine characters for each of them in a link that was escaped twice.
const LONGEST = 5000;

/** Returns a part of a URL without its escapes, or as it is if these are not UTF-8. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Returns the job `{queue, jobId}` that a path with its query names, or null. They end like the links of a bridge
 * (`/jobs/QUEUE/ID`, `/jobs/ID`, `?queue=QUEUE&jobId=ID`) or of a board (`/queue/QUEUE/ID`).
 */
function inPath(text) {
  const [path, query = ''] = text.split('?');
  const asked = new URLSearchParams(query);
  const asksFor = asked.get('jobId') || asked.get('job');
  if (asksFor) return { queue: asked.get('queue') || null, jobId: asksFor };
  const parts = path.split('/').filter(Boolean).map(decoded);
  const [word, ...rest] = parts.slice(parts.findIndex((part) => ['jobs', 'queue'].includes(part)));
  if (word === 'queue' && rest.length >= 2) return { queue: rest[0], jobId: rest[1] };
  if (word !== 'jobs' || !rest.length) return null;
  const [queues, queue] = parts.slice(-rest.length - 3);
  if (queues === 'queues' && rest.length === 1) return { queue, jobId: rest[0] };
  return rest.length === 1 ? { queue: null, jobId: rest[0] } : { queue: rest[0], jobId: rest[1] };
}

/**
 * Returns the job `{queue, jobId}` that a text means, or null. It is a link, `QUEUE/ID`, the key of a job in Redis
 * (`bull:QUEUE:ID`), or the id alone, which stands for the jobs of that id in every queue: `queue` is then null.
 */
export function jobIn(text) {
  const it = text.trim();
  if (!it || /[\r\n]/.test(it) || it.length > LONGEST || !it.isWellFormed()) return null;
  if (/^https?:\/\//i.test(it)) {
    if (!URL.canParse(it)) return null;
    const { pathname, search, hash } = new URL(it);
    return inPath(hash.slice(1)) ?? inPath(pathname + search); // pages that move within themselves have the job after `#`
  }
  const [, queue, jobId] = /^bull:([^:]+):(.+)$/.exec(it) ?? /^([^/]+)\/(.+)$/.exec(it) ?? [];
  return queue ? { queue, jobId } : { queue: null, jobId: it };
}

/** Returns how a job is written: `QUEUE/ID`, or its id alone. */
export const written = ({ queue, jobId }) => (queue === null ? jobId : `${queue}/${jobId}`);
