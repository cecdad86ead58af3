/** The fallback for networks that block WebSockets: the same frames over HTTP, in streams. If the network delays streams, the
 * client polls instead. This file is loaded when it is needed. Times are in milliseconds. Brackets name rules of protocol.md. */

// A stream over HTTP sends its position every 15 s [H8], so after this silence it is dead, or a proxy delays it.
const STREAM_SILENCE = 40000;
const POLL_SECONDS = 20;
// The position at the end of a response may be 0.3 s older than its events [P4]. An earlier poll would repeat events.
const POLL_PAUSE = 300;
// Each poll gets the numbers of queues immediately, if it wants them. They change once a second.
const STATS_PAUSE = 1000;
// Each new request sends all subscriptions again. So requests are gathered for GATHER ms, and GATHER_KB ms more for each
// kilobyte of the request before, where a subscription takes about a tenth of it.
const GATHER = 50;
const GATHER_KB = 20;
// By the status of a refusal: the close code after which a client stays away [X1]. A 403 says nothing against the token: it lacks a
// right, or the bridge does not allow this host, origin or proxy [C4]. That is 1008 of RFC 6455, a violated policy.
const CLOSE_CODES = { 401: 4501, 403: 1008 };
const EXPIRED = 4001;

/** Returns `{detail, code}` of an answer that is an error. A host, an origin or a proxy is refused in plain text, without `code`. */
async function problem(response) {
  const isPlain = response.headers.get('content-type')?.startsWith('text/plain');
  const { detail, code } = isPlain ? { detail: (await response.text()).trim() } : await response.json().catch(() => ({}));
  return { detail: detail || `HTTP ${response.status}`, code };
}

/**
 * A link over HTTP, with the methods of WebSocketLink. Each new request begins a `POST /events`, and aborts the one before.
 * With `polls`, a response ends with the first news, since the network may deliver it only when it ends.
 */
export function HttpLink({ base, token, timeout, polls, WebSocket, upgradeDelay, upgradeDelayMax }, to) {
  let abort = new AbortController();
  let gathering = null;
  let poll;
  let pause;
  let silence;
  let upgrading;
  let size = 0; // of the last request, in kilobytes
  let unanswered = 0; // how many messages of the last request have no answer yet
  let patience = 0; // until this time, a response with missing answers is not aborted

  function nudge() {
    gathering ??= setTimeout(() => {
      gathering = null;
      // If each new request aborted the response before, no answer would ever come.
      if (unanswered && performance.now() < patience) return nudge();
      if (to.messages().some(({ event }) => event !== 'unsubscribe-job')) ask();
    }, GATHER + GATHER_KB * size);
  }

  /** Send all subscriptions again, with positions, so no event comes twice. A poll waits for news for `wait` seconds. */
  function ask(wait = 0) {
    clearTimeout(poll);
    patience = wait ? 0 : performance.now() + timeout;
    pause = POLL_PAUSE;
    to.again();
    send(to.messages(), wait);
  }

  function send(messages, wait) {
    abort.abort();
    abort = new AbortController();
    listen(STREAM_SILENCE);
    unanswered = messages.length;
    answer(messages, wait, abort.signal);
  }

  async function answer(messages, wait, signal) {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
    try {
      const url = `${base}/events${polls ? `?wait=${wait}` : ''}`;
      const body = JSON.stringify(messages);
      size = body.length / 1000;
      const response = await fetch(url, { method: 'POST', headers, body, signal, cache: 'no-store' });
      if (!response.ok) {
        const { detail, code } = await problem(response);
        return end(signal, code === 'expired' ? EXPIRED : (CLOSE_CODES[response.status] ?? 1006), detail);
      }
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      for (let text = ''; ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        const blocks = (text + decoder.decode(value, { stream: true })).split('\n\n');
        text = blocks.pop();
        for (const block of blocks) if (!signal.aborted) take(block, signal);
      }
      if (polls && !signal.aborted) again(messages.length > 0);
      else end(signal, 1006, 'the stream ended');
    } catch (error) {
      end(signal, 1006, String(error));
    }
  }

  function take(block, signal) {
    const lines = block.split('\n');
    const data = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n');
    if (lines.includes('event: close')) {
      const { code, reason } = JSON.parse(data);
      end(signal, code, reason);
    } else if (data) {
      listen(STREAM_SILENCE);
      to.frame(data);
      // Not before this link connects: one that is tried while another is open would double its attempts.
      if (!upgrading && !signal.aborted && (WebSocket || polls)) upgrade(upgradeDelay);
      if (unanswered && JSON.parse(data).ref !== undefined) unanswered--;
      if (data.startsWith('{"event":"queue-stats"')) pause = STATS_PAUSE;
    }
  }

  /** Poll again after a poll has ended, if there is a subscription. */
  function again(asked) {
    patience = 0;
    if (asked) poll = setTimeout(() => ask(POLL_SECONDS), pause);
    else clearTimeout(silence);
  }

  /** End the link unless something comes within this time. */
  function listen(milliseconds) {
    clearTimeout(silence);
    silence = setTimeout(() => to.end(1006, 'timeout'), milliseconds);
  }

  function end(signal, code, reason) {
    if (signal.aborted) return;
    abort.abort();
    to.end(code, reason);
  }

  /**
   * Try a better link after `delay`, then after twice as long, and so on: a WebSocket, and while polling also a stream, since
   * a stream that was only slow is mistaken for one that a proxy delays.
   */
  function upgrade(delay) {
    upgrading = setTimeout(() => {
      upgrade(Math.min(2 * delay, upgradeDelayMax));
      if (WebSocket) to.upgrade();
      if (polls) to.upgrade(HttpLink);
    }, delay);
  }

  // The first request asks for nothing, and gets `hello`. `hello` comes after the connection knows of this link.
  send([], 0);
  listen(polls ? timeout : timeout / 2);
  return {
    kind: polls ? 'polling' : 'sse',
    nudge,
    check() {}, // `listen` finds silent bridges, and the browser ends responses when the network is gone
    close() {
      abort.abort();
      for (const timer of [gathering, poll, silence, upgrading]) clearTimeout(timer);
      gathering = true;
    },
  };
}

/** Sends a request, and resolves with the answer. The query has those of `values` that are not undefined, null or false; true is 1. */
async function exchange(JobwsError, { base, token }, method, path, { signal, ...values }) {
  const given = await token();
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) if ((value ?? false) !== false) query.set(key, value === true ? 1 : value);
  const headers = given ? { authorization: `Bearer ${given}` } : {};
  const response = await fetch(`${base}/${path}?${query}`, { method, headers, cache: 'no-store', signal });
  if (response.ok) return response.json();
  const { detail, code } = await problem(response);
  throw new JobwsError(detail, code);
}

/** Looks up a job. See `Jobs.lookup` in jobws.d.ts. `JobwsError` is passed, since this file does not import it. */
export async function lookup(JobwsError, connection, jobId, { queue, event, children, signal } = {}) {
  try {
    const answer = await exchange(JobwsError, connection, 'GET', 'jobs', { jobId, queue, event, children, signal });
    return answer.jobs ?? [answer];
  } catch (error) {
    if (['unknown-job', 'unknown-queue'].includes(error.code)) return [];
    throw error;
  }
}

/** Acts on a job or a queue. See `Jobs.act` in jobws.d.ts. */
export const act = (JobwsError, connection, action, about) => exchange(JobwsError, connection, 'POST', 'actions', { action, ...about });
