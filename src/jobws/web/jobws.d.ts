/** What `jobws.js` exports. Times are in milliseconds. Rules such as S2 are those of protocol.md. */

/** A number is an id if it is a safe integer: 42 is the job "42". */
export type JobId = string | number;

/** By queue, the position up to which everything has come. */
export type Positions = Record<string, string>;

/** What carries the events. */
export type Transport = 'websocket' | 'sse' | 'polling';

/** The name of a BullMQ event; a custom event has another one. */
export type EventName = keyof JobEventData;

export type TokenValue = string | { token?: string } | null | undefined;

/** A token, or what gets one before each connection: returned, promised, or handed to the callback. */
export type Token = TokenValue | (() => TokenValue | Promise<TokenValue>) | ((callback: (token: TokenValue) => void) => void);

export interface Options {
  /** Of the bridge, before its `/ws`, if the URL does not have it. socket.io's own `/socket.io` is ignored. */
  path?: string;
  token?: Token;
  /** The same as `token`, as socket.io-client calls it. */
  auth?: Token;
  /** `['websocket']`: never fall back to HTTP. */
  transports?: string[];
  /** false: a connection that is lost, or was not made, is not tried again. */
  reconnection?: boolean;
  /** How many times in a row it tries to come back. Default: no limit. */
  reconnectionAttempts?: number;
  /** The wait before a next attempt is random, up to this (default 100), which doubles each time. */
  reconnectionDelay?: number;
  /** What the wait's upper end doubles to at most (default 5000). */
  reconnectionDelayMax?: number;
  /** Has no effect: waits are always fully random. */
  randomizationFactor?: number;
  /** How long an attempt to connect may take (default 10000). */
  timeout?: number;
  /** How often a WebSocket is asked whether the bridge is alive (default 20000). */
  pingInterval?: number;
  /** A bridge that does not answer that for so long is gone, and the client comes back (default 10000). */
  pongTimeout?: number;
  /**
   * Where only HTTP gets through, WebSocket is tried again after so long (default 1000), and a stream where only polls do;
   * doubles each time.
   */
  upgradeDelay?: number;
  /** What that doubles to at most (default 300000). */
  upgradeDelayMax?: number;
  /** false: connect when `connect()` is called. */
  autoConnect?: boolean;
  /** Where there is none, as in Node before 22: that of the package `ws`. */
  WebSocket?: new (url: string, protocols: string[]) => { send(text: string): void; close(code?: number): void };
}

/** What Redis knows of a job (S2). Times are by the clocks of its producer and worker. */
export interface JobSnapshot<Result = unknown> {
  queue: string;
  jobId: string;
  name: string;
  state: string;
  /** The stream id up to which this holds; null: the queue has no stream yet. */
  at: string | null;
  attemptsMade?: number;
  timestamp?: number;
  processedOn?: number;
  finishedOn?: number;
  progress?: unknown;
  /** From `lookup` alone, as `failedReason`: on a connection the outcome's event has it. */
  returnvalue?: Result;
  failedReason?: string;
  /** From `lookup` alone, of queues for which the bridge was told to show it (`--show-data`, `--show-stacktraces`). */
  data?: unknown;
  stacktrace?: string[];
  /** A value was too large, and is left out or cut. */
  truncated?: true;
  /** Where the event with the result is (H11), if the job is gone and the result was too large for the answer (H6). */
  href?: string;
  /** How many jobs are below it in its flow (S13): completed, failed, and all. Only with `children`. */
  tree?: { done: number; failed: number; total: number };
}

/** Which job an event is about. */
export interface About {
  queue: string;
  jobId: string;
  /** The largest fields were too large for an event and are missing; `lookup` has them, with the event's `id` as `event`. */
  truncated?: true;
  /** How many bytes are missing. */
  bytes?: number;
  /** Where the whole event is, below the bridge's URL (H11). */
  href?: string;
}

/** One event of a job with all of its fields (H11). */
export interface WholeEvent<Result = unknown> {
  event: string;
  queue: string;
  jobId: string;
  returnvalue?: Result;
  failedReason?: string;
  [field: string]: unknown;
}

/** What comes with each of BullMQ's events. */
export interface JobEventData<Result = unknown> {
  added: About & { name: string };
  waiting: About & { prev?: string };
  active: About & { prev?: string };
  progress: About & { data: unknown };
  completed: About & { returnvalue: Result; prev?: string };
  /** Final: an attempt that will be repeated is `waiting` or `delayed`. */
  failed: About & { failedReason: string; prev?: string };
  /** `delay`: when it is due, in epoch milliseconds. */
  delayed: About & { delay: number };
  stalled: About;
  'retries-exhausted': About & { attemptsMade: string };
  removed: About & { prev?: string };
  'waiting-children': About & { prev?: string };
  duplicated: About;
  deduplicated: About & { deduplicationId: string; deduplicatedJobId: string };
}

/** Events of the queue may be missing (R6); null: of all queues, or of all jobs. Their outcomes follow by themselves. */
export interface GapData {
  queue: string | null;
  jobs: string[] | null;
  reason?: 'trimmed' | 'recreated' | 'ahead';
}

/** What a worker wrote with `job.log()` (E8). */
export interface JobLogData {
  queue: string;
  jobId: string;
  /** New ones, in order. */
  lines: string[];
  /** The number of the first, counted from 0. */
  first: number;
  /** Where to go on after the last one. */
  position: string;
  /** Lines may be missing before these; numbers begin again. */
  gap?: true;
  /** A line was too long, and is cut. */
  truncated?: true;
}

/** `id` is the position after it (P3), and missing where another event is still owed. `replayed`: it was read back. */
export interface Told<Name extends string, Data> {
  event: Name;
  data: Data;
  id?: string;
  replayed?: true;
  /** The job above, in a flow; the watched job itself has none. */
  parent?: { queue: string; jobId: string };
}

/** What `watch` yields. `Custom` are the names of custom events that were asked for. */
export type JobEvent<Result = unknown, Custom extends string = never> =
  | { [Name in EventName]: Told<Name, JobEventData<Result>[Name]> }[EventName]
  | { [Name in Custom]: Told<Name, About & { [field: string]: unknown }> }[Custom]
  | { event: 'gap'; data: GapData }
  | { event: 'job-log'; data: JobLogData };

/** What is subscribed with `emit('subscribe-job', …)`. */
export interface Subscription {
  jobId: JobId;
  /** Without one: the jobs of that id in every queue. */
  queue?: string;
  /** `['*']`: all. Default: those that have a handler, and outcomes. */
  events?: string[];
  /** Leave after the outcome. */
  until?: 'end';
  /** Every event after this position. One that is text needs `queue`. */
  after?: Positions | string;
  /** The job's log lines, too, as `job-log`; `after`: after that `position`, by queue or together with `queue`. */
  logs?: boolean | { after: Record<string, string> | string };
}

type Rooms = readonly (JobId | Subscription)[];

/** What goes with a request. */
export type RequestData<Name extends string> = Name extends 'subscribe-job' | 'unsubscribe-job'
  ? JobId | Subscription | Rooms | (Omit<Subscription, 'jobId'> & { jobs: Rooms })
  : unknown;

/** The bridge's answer to a request. */
export interface Answer {
  request?: string;
  /** The request, or one of a list, was refused. */
  error?: { code: string; message: string };
  /** Of one job: the jobs of that id; there may be none yet. */
  jobs?: JobSnapshot[];
  /** Of a list: one for each, in its order. */
  results?: Answer[];
  /** Whether it had been subscribed. */
  left?: boolean;
  /** Where the subscription begins. */
  after?: Positions;
  /** There is no such job (P5). */
  unknown?: boolean;
  gap?: boolean;
  ambiguous?: boolean;
  /** The queue that was named is not there yet. */
  unknownQueue?: boolean;
}

type LimitedAcknowledge = (error: JobwsError | null, answer?: Answer) => void;

/** What handlers of the client's own events get. */
export interface ClientEventData {
  connect: undefined;
  /** Why; the client comes back by itself, unless it was told not to. */
  disconnect: string;
  /** Two attempts to come back failed, or there will be no more. Its message says what to check. */
  connect_error: JobwsError;
  transport: Transport;
  gap: GapData;
  'job-log': JobLogData;
  /** Of the bridge's log: lines are missing here; 0: nobody knows how many. */
  dropped: { count: number; approximate?: boolean };
  /** When the token expires, in milliseconds since 1970. A function that gets tokens is called for this anyway. */
  expiring: { expires: number };
  /** A subscription has ended, since a new token does not allow it. */
  ended: { code: 'forbidden'; message: string; queue?: string; jobId?: string };
}

/** What a handler of that event gets. Results are `any`, as everything is with socket.io-client. */
export type HandlerData<Name extends string> = Name extends EventName
  ? JobEventData<any>[Name]
  : Name extends keyof ClientEventData
    ? ClientEventData[Name]
    : any;

/** Base of all errors of this module. */
export class JobwsError extends Error {
  constructor(message: string, code?: string | number);
  /** The bridge's code for why it refused (protocol.md, 6), or the close code of the connection. */
  code?: string | number;
}

/** A job that was waited for failed, and will not be tried again. */
export class JobFailed extends JobwsError {
  constructor(jobId: string, queue: string | undefined, reason: string);
  jobId: string;
  queue?: string;
  /** Its `failedReason`. */
  reason: string;
}

/** A job that was waited for was removed before it had ended. */
export class JobRemoved extends JobwsError {
  constructor(jobId: string, queue?: string);
  jobId: string;
  queue?: string;
}

/** There is no such job, and no outcome of one, as far as Redis remembers. */
export class JobUnknown extends JobwsError {
  constructor(jobId: string, queue?: string);
  jobId: string;
  queue?: string;
}

/** `jobs.io`, what socket.io-client calls the manager. */
declare class Manager {
  on(name: 'reconnect' | 'reconnect_attempt', handler: (attempt: number) => void): this;
  on(name: 'reconnect_failed', handler: () => void): this;
  once(name: 'reconnect' | 'reconnect_attempt', handler: (attempt: number) => void): this;
  once(name: 'reconnect_failed', handler: () => void): this;
  off(name?: string, handler?: (...args: any[]) => void): this;
}

/** A connection to a bridge that comes back by itself. */
export class Jobs {
  constructor(url?: string | URL, options?: Options);
  readonly connected: boolean;
  readonly disconnected: boolean;
  /** Whether it is connected, or tries to be. */
  readonly active: boolean;
  /** What carries the events now; null: nothing does. */
  readonly transport: Transport | null;
  readonly io: Manager;

  /**
   * Jobs' events, and the client's own. Handlers of job events say which events `emit('subscribe-job', …)` asks for. `id` is
   * the position after the event (P3).
   */
  on<Name extends string>(name: Name, handler: (data: HandlerData<Name>, id?: string) => void): this;
  once<Name extends string>(name: Name, handler: (data: HandlerData<Name>, id?: string) => void): this;
  /** Without a handler all of that name are removed, without a name all. */
  off(name?: string, handler?: (data: any, id?: any) => void): this;

  /** A request to the bridge. Before there is a connection, it waits for one. */
  emit(event: string, acknowledge: (answer: Answer) => void): this;
  emit<Name extends string>(event: Name, data?: RequestData<Name>, acknowledge?: (answer: Answer) => void): this;
  /** Resolves with the answer, also with one that is a refusal: `{error: {code, message}}`. */
  emitWithAck<Name extends string>(event: Name, data?: RequestData<Name>): Promise<Answer>;
  /** Requests that fail with a JobwsError if there is no answer within that time. */
  timeout(milliseconds: number): {
    emit(event: string, acknowledge: LimitedAcknowledge): Jobs;
    emit<Name extends string>(event: Name, data?: RequestData<Name>, acknowledge?: LimitedAcknowledge): Jobs;
    emitWithAck<Name extends string>(event: Name, data?: RequestData<Name>): Promise<Answer>;
  };

  connect(): this;
  /** The same as `connect`. */
  open(): this;
  /** Ends every wait and watch with a JobwsError. Only `connect()` brings it back. */
  disconnect(): this;
  /** The same as `disconnect`. */
  close(): this;

  /**
   * A job's result, immediately if it has ended. Rejects with JobFailed, JobRemoved, JobUnknown (unless `expect`: the job is
   * about to be added, or its queue to be made), a TimeoutError after `timeout`, the reason of `signal`, or a JobwsError
   * of the bridge's.
   */
  wait<Result = unknown>(
    jobId: JobId,
    options?: { queue?: string; timeout?: number; expect?: boolean; signal?: AbortSignal },
  ): Promise<Result>;

  /**
   * The events of a job until its outcome: `for await (const {event, data} of jobs.watch(id))`. `events` names those
   * that are wanted, `*` all; outcomes always come, and `gap`. `logs`: what the worker writes with `job.log()`, too, as
   * `job-log`, the last lines before the outcome. `children`: what happens to the jobs below in its flow, too, with
   * `parent` (S13); needs `queue`. Ends with JobUnknown if `expect` is false and there is no such job.
   * Leaving the loop leaves the job.
   */
  watch<Result = unknown, Custom extends string = never>(
    jobId: JobId,
    options?: {
      queue?: string;
      events?: readonly (EventName | Custom | '*')[];
      logs?: boolean;
      children?: boolean;
      expect?: boolean;
      signal?: AbortSignal;
    },
  ): AsyncIterable<JobEvent<Result, Custom>>;

  /** Snapshots with results, one per queue that has a job of that id; maybe none. */
  lookup<Result = unknown>(jobId: JobId, options?: { queue?: string }): Promise<JobSnapshot<Result>[]>;
  /** The snapshot with `tree`, which counts the jobs below the job in its flow (S13). */
  lookup<Result = unknown>(jobId: JobId, options: { queue: string; children: boolean }): Promise<JobSnapshot<Result>[]>;
  /** The event of the job with that `id`, whole, also after the job was removed. Rejects with the code `gone` (H11). */
  lookup<Result = unknown>(jobId: JobId, options: { queue: string; event: string }): Promise<WholeEvent<Result>[]>;

  /**
   * Act on a job (H12). `children`: `remove` also removes the jobs below it in its flow. Rejects with a JobwsError, whose code
   * is `unknown-job`, `locked` or `bad-state-for-action`, for instance.
   */
  act(
    action: 'retry' | 'promote' | 'remove',
    about: { queue: string; jobId: JobId; children?: boolean; signal?: AbortSignal },
  ): Promise<{ queue: string; jobId: string }>;
  /** Act on a queue. `failed`: how many failed jobs are retried, after the answer. */
  act(
    action: 'retry-failed' | 'pause' | 'resume',
    about: { queue: string; signal?: AbortSignal },
  ): Promise<{ queue: string; failed?: number }>;
}

/** A bridge's client. `url` is the bridge's (default: the page's own), or that with `/logs` for its logs. */
export function io(url?: string | URL, options?: Options): Jobs;
export function io(options: Options): Jobs;
export { io as connect, io as default };
