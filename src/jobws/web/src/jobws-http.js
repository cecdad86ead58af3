/** The fallback where no WebSocket gets through: the same frames over HTTP, in streams, or, where those are held back, in
 * answers that end. It is loaded when it is needed. Times are in milliseconds. Rules in brackets: protocol.md. */

// A stream over HTTP tells its position every 15 s [H8]; some proxies hold all of it back until it ends.
const STREAM_SILENCE = 40000;
const POLL_SECONDS = 20;
// The position that ends an answer may be earlier than its events by 0.3 s [P4]: who asks sooner is told the same again.
const POLL_PAUSE = 300;
// Everything is asked for again with each further request, so they are gathered: for so long, and so long for each
// subscription.
const GATHER = 50;
const GATHER_EACH = 2;

/**
 * What HTTP carries, as WebSocketLink does; each request begins another `POST /events`, and gives the one before up. `polls`:
 * the answers end with the first news, for where nobody sees them before they end.
 */
export function HttpLink({ base, token, timeout, polls, WebSocket, upgradeDelay, upgradeDelayMax }, to) {
  let abort = new AbortController();
  let gathering = null;
  let poll;
  let silence;
  let upgrading;
  let patience = 0; // until when an answer is not given up before it told what was asked for

  function nudge() {
    gathering ??= setTimeout(() => {
      gathering = null;
      // Who gives an answer up for each further request gets none.
      if (to.awaited() && performance.now() < patience) return nudge();
      if (to.messages().some(({ event }) => event !== 'unsubscribe-job')) ask();
    }, GATHER + GATHER_EACH * to.size());
  }

  /** Everything is asked for again; positions see to it that nothing comes twice. `wait`: for how many seconds for news. */
  function ask(wait = 0) {
    clearTimeout(poll);
    patience = wait ? 0 : performance.now() + timeout;
    send(to.messages(true), wait);
  }

  function send(messages, wait) {
    abort.abort();
    abort = new AbortController();
    listen(STREAM_SILENCE);
    answer(messages, wait, abort.signal);
  }

  async function answer(messages, wait, signal) {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
    try {
      const url = `${base}/events${polls ? `?wait=${wait}` : ''}`;
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(messages), signal, cache: 'no-store' });
      if (!response.ok) {
        const { detail } = await response.json().catch(() => ({}));
        const refused = response.status === 401 || response.status === 403;
        return end(signal, refused ? 4501 : 1006, detail ?? `HTTP ${response.status}`);
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
    }
  }

  /** A poll has ended. Where nothing is asked for, nothing comes. */
  function again(asked) {
    patience = 0;
    if (asked) poll = setTimeout(() => ask(POLL_SECONDS), POLL_PAUSE);
    else clearTimeout(silence);
  }

  /** Something is to come within so long. */
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
   * What is better is tried after `delay`, then after twice as long, and so on: WebSocket, and where it polls, a stream, too,
   * since one that was only slow looked as if it were held back.
   */
  function upgrade(delay) {
    upgrading = setTimeout(() => {
      upgrade(Math.min(2 * delay, upgradeDelayMax));
      if (WebSocket) to.upgrade();
      if (polls) to.upgrade(HttpLink);
    }, delay);
  }

  // `hello` comes before anything is asked for, but not before the connection knows of this link.
  send([], 0);
  listen(polls ? timeout : timeout / 2);
  return {
    kind: polls ? 'polling' : 'sse',
    nudge,
    check() {}, // who is silent is found out, and the browser ends answers whose network is gone
    begin() {
      if (WebSocket || polls) upgrade(upgradeDelay);
    },
    close() {
      abort.abort();
      for (const timer of [gathering, poll, silence, upgrading]) clearTimeout(timer);
      gathering = true;
    },
  };
}

/** See `Jobs.lookup` in jobws.d.ts; `JobwsError` is the class of that name. */
export async function lookup(JobwsError, { base, token }, jobId, { queue, signal } = {}) {
  const given = await token();
  const query = new URLSearchParams({ jobId, ...(queue !== undefined && { queue }) });
  const headers = given ? { authorization: `Bearer ${given}` } : {};
  const response = await fetch(`${base}/jobs?${query}`, { headers, cache: 'no-store', signal });
  const answer = await response.json();
  if (response.ok) return answer.jobs ?? [answer];
  if (response.status === 404) return [];
  throw new JobwsError(answer.detail ?? `HTTP ${response.status}`, answer.code);
}
