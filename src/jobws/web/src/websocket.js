/**
 * The usual link to a bridge, over a WebSocket. It calls `to.frame` with each frame, and `to.end` with the close code and the
 * reason at the end. `to.messages` returns the messages to send. Times are in milliseconds.
 */
export function WebSocketLink({ WebSocket, base, endpoint, token, timeout, pingInterval, pongTimeout }, to) {
  const socket = new WebSocket((base + endpoint).replace('http', 'ws'), ['jobws.v1', ...(token ? [`bearer.${token}`] : [])]);
  const send = (message) => socket.send(JSON.stringify(message));
  const late = () => to.end(1006, 'timeout');
  let silence = setTimeout(late, timeout);
  let beat;
  let due;
  socket.onmessage = ({ data }) => {
    clearTimeout(silence); // any message shows that the bridge is alive
    silence = null;
    beat ??= setInterval(check, pingInterval);
    to.frame(data);
  };
  socket.onerror = () => {}; // the event `close` follows
  socket.onclose = ({ code, reason }) => to.end(code, reason);

  /** Send a `ping`, to detect a half-open connection, and to get new positions with the `pong` [protocol.md, P4]. */
  function check() {
    send({ event: 'ping' });
    silence ??= setTimeout(late, pongTimeout);
  }

  return {
    kind: 'websocket',
    check,
    /** Send all requests of this turn of the event loop together: with 20,000 of them, a look after each takes 0.9 s. */
    nudge() {
      due ??= Promise.resolve().then(() => {
        due = null;
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
