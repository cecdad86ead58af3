/** What `jobws-queues.js` exports. Rules such as S9 are those of protocol.md. */
import type { About, EventName, GapData, JobEventData, Jobs, Positions, Told } from './jobws.js';

/** The numbers of a queue (E12). They come soon after the `ack`, and then when they have changed. */
export interface QueueStats {
  queue: string;
  paused: boolean;
  /** How many jobs the queue has, by state. */
  counts: Record<'waiting' | 'active' | 'delayed' | 'prioritized' | 'waiting-children' | 'completed' | 'failed', number>;
  /** For how long the job has been waiting that waits for longest; null: none waits. */
  oldestWaitingSeconds: number | null;
  /** Jobs that ended in the last 60 s; null: the bridge does not know all of them. */
  completedPerMinute: number | null;
  failedPerMinute: number | null;
  /** How many workers the queue has; null: Redis does not tell. */
  workers: number | null;
}

/** What comes with each of BullMQ's events that are about the queue itself. */
export interface QueueEventData {
  drained: { queue: string };
  paused: { queue: string };
  resumed: { queue: string };
  /** How many jobs were removed, as text. */
  cleaned: { queue: string; count: string };
}

/** What can be asked for. */
export type QueueEventName = EventName | keyof QueueEventData | 'queue-stats' | '*';

/**
 * What `watchQueue` yields. `ack`, once for each label: the watch of `queue` (as it was named, maybe `*`) has begun, and all
 * that happens after the positions in `after` follows. `unknownQueue`: there is no such queue yet. `gap`: events of `queue`
 * are missing here, or maybe of every queue if it is null. `Custom` are the names of custom events that were asked for.
 */
export type QueueEvent<Result = unknown, Custom extends string = never> =
  | { [Name in EventName]: Told<Name, JobEventData<Result>[Name]> }[EventName]
  | { [Name in keyof QueueEventData]: Told<Name, QueueEventData[Name]> }[keyof QueueEventData]
  | { [Name in Custom]: Told<Name, { queue: string } & Partial<About> & { [field: string]: unknown }> }[Custom]
  | { event: 'queue-stats'; data: QueueStats }
  | { event: 'ack'; data: { queue: string; after: Positions; unknownQueue?: true } }
  | { event: 'gap'; data: Omit<GapData, 'jobs'> };

/**
 * The events of all jobs of one queue, of several, or of every queue that the client may read (`*`), also of those that are
 * made later, and of the queues themselves: `for await (const { event, data } of watchQueue(jobs, 'http'))`. After a lost
 * connection what was missed comes as far as Redis has it; a `gap` says that it has less.
 *
 * `events`: their names; `*` means all but `queue-stats`. Default: `completed`, `failed` and `removed`. `after`: begin after
 * these positions, not now. Leaving the loop, or an abort of `signal`, leaves the queues. Rejects with a JobwsError if the
 * bridge refuses one of them.
 */
export function watchQueue<Result = unknown, Custom extends string = never>(
  jobs: Jobs,
  queues: string | readonly string[],
  options?: { events?: readonly (QueueEventName | Custom)[]; after?: Positions; signal?: AbortSignal },
): AsyncIterable<QueueEvent<Result, Custom>>;
