/**
 * The usual link to a bridge. `to.frame` takes what comes, and `to.end`, at last, a close code and why; `to.messages` gives
 * what to send. Times are in milliseconds.
 */
export function WebSocketLink({ WebSocket, base, endpoint, token, timeout, pingInterval, pongTimeout }, to) {
  const socket = new WebSocket((base + endpoint).replace('http', 'ws'), ['jobws.v1', ...(token ? [`bearer.${token}`] : [])]);
  const send = (message) => socket.send(JSON.stringify(message));
  let beat;
  const late = () => to.end(1006, 'timeout');
  let silence = setTimeout(late, timeout);
  let due = false;
  socket.onmessage = ({ data }) => {
    clearTimeout(silence); // whatever comes shows that it is alive
    silence = null;
    to.frame(data);
  };
  socket.onerror = () => {}; // `close` follows
  socket.onclose = ({ code, reason }) => to.end(code, reason);

  /** A half-open connection stands for ever; and a `pong` keeps positions young [P4]. */
  function check() {
    send({ event: 'ping' });
    silence ??= setTimeout(late, pongTimeout);
  }

  return {
    kind: 'websocket',
    check,

    /** The bridge has greeted. */
    begin() {
      beat = setInterval(check, pingInterval);
    },

    /** What one turn of the program asks for goes out together. */
    nudge() {
      if (due) return;
      due = true;
      queueMicrotask(() => {
        due = false;
        if (socket.onclose) to.messages().forEach(send);
      });
    },

    close() {
      clearInterval(beat);
      clearTimeout(silence);
      socket.onmessage = socket.onclose = null;
      socket.close(1000);
    },
  };
}
