/** What `elements.js` exports. Importing it defines the custom elements; where there are no pages, as in Node, it does nothing. */
import type { QueueStats } from './jobws-queues.js';
import type { Token } from './jobws.js';

/** The state of a job: that of a snapshot (S2), or what else may have become of it. '': nothing is known yet. */
export type JobState =
  | ''
  | 'waiting'
  | 'active'
  | 'delayed'
  | 'prioritized'
  | 'waiting-children'
  | 'completed'
  | 'failed'
  /** It was removed before it had ended. */
  | 'removed'
  /** There is no such job; the element shows it as soon as it is added. */
  | 'missing'
  /** The bridge does not tell; `reason` says why. */
  | 'refused';

/** What the event `jobws-state` has as its `detail`. */
export interface JobStateDetail<Result = unknown> {
  state: JobState;
  queue: string | undefined;
  jobId: string;
  /** What the job has returned; undefined: nothing yet, or it is too large to come by itself. */
  result: Result | undefined;
  /** Why the job has failed, or why the bridge does not tell; '' if neither is so. */
  reason: string;
}

/** The base class of the elements. Those with the same `url` and `token` share a connection. */
export class JobwsElement extends HTMLElement {
  /**
   * The token of the elements that have none of their own, and whose `url` is `JobwsElement.url`: a text, or a function that gets
   * one. Another bridge never gets it, since markup may name any host.
   */
  static token: Token;
  /** The bridge of all elements that have none of their own. Default: the one that this script came from, or the page's origin. */
  static url: string | URL;
  /** Of this element alone, for whichever bridge its `url` names. Never an attribute, since a document may be kept and shown. */
  token: Token;
  /** The attribute `url`, or else `JobwsElement.url`. */
  get url(): string;
  set url(url: string | URL | null);
}

/** `<jobws-job queue="http" job="42">`. */
export class JobElement extends JobwsElement {
  job: string | null;
  /** null: the job of that id in any queue. */
  queue: string | null;
  readonly state: JobState;
  readonly result: unknown;
  readonly reason: string;
}

/** `<jobws-queue queue="http">`. */
export class QueueElement extends JobwsElement {
  queue: string | null;
  /** The numbers of the queue; null before the first ones came. */
  readonly stats: QueueStats | null;
}

/** `<jobws-logs>`: the lines of the bridge's log. Attributes are filters (L4). */
export class LogsElement extends JobwsElement {
  queue: string | null;
  job: string | null;
  level: string | null;
  source: string | null;
  text: string | null;
}

declare global {
  interface HTMLElementTagNameMap {
    'jobws-job': JobElement;
    'jobws-queue': QueueElement;
    'jobws-logs': LogsElement;
  }
  interface HTMLElementEventMap {
    'jobws-state': CustomEvent<JobStateDetail>;
    'jobws-stats': CustomEvent<QueueStats>;
  }
}
