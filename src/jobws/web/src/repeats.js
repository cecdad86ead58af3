/** Recognises an outcome that a page has got before. A bridge may send it again after a gap. Brackets name rules of protocol.md. */

import { OUTCOMES } from './subscription.js';

/** Returns a short summary of an outcome, to recognise it again without keeping a large result. */
function summary(event, { returnvalue, failedReason }) {
  const text = JSON.stringify([event, returnvalue ?? failedReason]);
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (31 * hash + text.charCodeAt(i)) | 0;
  return [text.length, hash].join();
}

// These events may come after the outcome, and do not say that the job lives again.
const LATE = ['progress', 'job-log', 'gap'];

/**
 * Returns a function for the events of one subscription. It returns whether an event repeats an outcome [R4], or says that an
 * ended job is gone.
 */
export function Repeats() {
  const told = new Map(); // by queue, the summary and the `id` of the last outcome of the job's present life
  return ({ event, id, data }) => {
    const { queue } = data;
    const [before, at] = told.get(queue) ?? [];
    if (!OUTCOMES.includes(event)) return LATE.includes(event) || told.delete(queue), false;
    const made = !id || id.includes('~'); // the bridge made this event from what it found in Redis
    if (before && made && event === 'removed') return true;
    const now = summary(event, data);
    told.set(queue, [now, id]);
    return now === before && (made || id === at);
  };
}
