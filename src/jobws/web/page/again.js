/** Tries again what has failed: after a pause, which is longer each time. */

const FIRST = 500;
const LONGEST = 30000;

/** Returns what calls `run` again. Times are in milliseconds. */
export function Again(run) {
  let timer;
  let pause = FIRST;
  let ended = false;
  const again = {
    /** Runs it after the next pause. Returns whether it has failed for the first time. */
    later() {
      const first = pause === FIRST;
      again.stop();
      if (!ended) timer = setTimeout(again.now, pause);
      pause = Math.min(LONGEST, 2 * pause);
      return first;
    },
    /** Runs it now, if it waits for that. */
    now() {
      if (!timer) return;
      again.stop();
      run();
    },
    /** It has worked, so the next pause is the first one. */
    done() {
      again.stop();
      pause = FIRST;
    },
    stop() {
      clearTimeout(timer);
      timer = undefined;
    },
    /** It is tried no more. */
    end() {
      ended = true;
      again.stop();
    },
    /** Whether it waits. */
    get waits() {
      return timer !== undefined;
    },
  };
  return again;
}
