/** What `react.js` exports. */
import type { DetailedHTMLProps, HTMLAttributes } from 'react';
import type { JobElement, JobStateDetail, LogsElement, QueueElement } from './elements.js';
import type { QueueStats } from './jobws-queues.js';
import type { EventName, JobFailed, JobId, JobRemoved, Jobs, JobwsError, Token } from './jobws.js';

/** What is known of a job. `progress` is the latest that came while it was watched. */
export type JobView<Result = unknown, Progress = unknown> =
  | { status: 'idle'; result: undefined; error: undefined; progress: undefined }
  | { status: 'pending'; result: undefined; error: undefined; progress: Progress | undefined }
  | { status: 'completed'; result: Result; error: undefined; progress: Progress | undefined }
  | { status: 'failed'; result: undefined; error: JobFailed; progress: Progress | undefined }
  | { status: 'removed'; result: undefined; error: JobRemoved; progress: Progress | undefined }
  /** There is no such job (a JobUnknown), or the bridge refuses to tell. */
  | { status: 'unknown'; result: undefined; error: JobwsError; progress: Progress | undefined };

/**
 * A job in a component. Without an id it is `idle`; with another id it begins again. `events` are those that are asked
 * for beside the outcome: `progress`, unless it is `[]`.
 */
export function useJob<Result = unknown, Progress = unknown>(
  jobs: Jobs,
  jobId: JobId | null | undefined,
  options?: { queue?: string; events?: readonly (EventName | '*')[] },
): JobView<Result, Progress>;

type Of<Element, Attributes> = DetailedHTMLProps<HTMLAttributes<Element>, Element> &
  Attributes & { url?: string; token?: Token };

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      'jobws-job': Of<
        JobElement,
        { queue?: string; job?: JobId; 'onjobws-state'?: (event: CustomEvent<JobStateDetail>) => void }
      >;
      'jobws-queue': Of<QueueElement, { queue?: string; 'onjobws-stats'?: (event: CustomEvent<QueueStats>) => void }>;
      'jobws-logs': Of<LogsElement, { queue?: string; job?: JobId; level?: string; source?: string; text?: string }>;
    }
  }
}
