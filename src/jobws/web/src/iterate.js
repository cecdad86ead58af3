/** An async iterator over what a subscription brings. */

/**
 * Returns the iterator. It calls `begin(push, end)`: `push(frame, last)` yields a frame, after which the iterator ends if it is the
 * last one, and `end(error)` ends it with an error. `begin` returns a function that leaves the subscription, which is called at the
 * end. An aborted `signal` ends the iterator, too.
 */
export function iterate(connection, signal, begin) {
  const items = [];
  let wake, failure, over, leave;
  const end = (error) => {
    failure ??= error;
    over = true;
    signal?.removeEventListener('abort', aborted);
    leave?.();
    wake?.();
  };
  const aborted = () => end(signal.reason);
  const push = (frame, last) => {
    items.push(frame);
    last ? end() : wake?.();
  };
  if (signal?.aborted) aborted();
  else if (connection.failure) end(connection.failure);
  else {
    signal?.addEventListener('abort', aborted);
    leave = begin(push, end);
  }
  return {
    next: async () => {
      while (!items.length && !over) await new Promise((resolve) => (wake = resolve));
      if (items.length) return { value: items.shift() };
      const error = failure;
      failure = null;
      if (error) throw error;
      return { done: true };
    },
    return: async () => {
      items.length = 0;
      end();
      return { done: true };
    },
  };
}
