/** The view of one job: how it goes on, what it did, and how it ended. */

import { firstSamples, leftAt, percentOf, sampled, wordsOf } from '../src/elements/progress.js';
import { ValueTree } from '../src/elements/value-tree.js';
import { Actions } from './actions.js';
import { Again } from './again.js';
import { h, mark, perFrame, say, whileVisible } from './dom.js';
import { duration, line, time, whole } from './format.js';
import { Flow } from './flow.js';
import { JobLog } from './joblog.js';
import { apply, ENDED, isLater, Job, merge, timeOf } from './model.js';
import { chip, LOADING, missing, queueLink } from './parts.js';
import { Timeline } from './timeline.js';

const UNKNOWN =
  'There is no job with this id. It was removed, or it is not there yet, and appears here as soon as it is added.';

/** Returns how far a job is, in words. `rest` is the time that it still takes, or null. */
function progressLine(progress, rest) {
  const part = percentOf(progress);
  return [
    part !== null && `${Math.round(part * 10) / 10} %`,
    line(wordsOf(progress)),
    rest && `${rest < 1000 ? 'less than a second' : `about ${duration(Math.round(rest / 1000) * 1000)}`} left`,
  ]
    .filter(Boolean)
    .join(' · ');
}

export function JobView(page, queue, jobId) {
  const { bridge } = page;
  const badge = chip('');
  badge.setAttribute('role', 'status');
  const name = h('span.jobname');
  const alone = bridge.rights.only;
  const crumbs = h(
    'p.crumbs',
    {},
    !alone && h('a', { href: '#/' }, 'Queues'),
    !alone && h('span', { 'aria-hidden': 'true' }, '/'),
    alone ? queue : h('a', { href: queueLink(queue) }, queue),
    h('span', { 'aria-hidden': 'true' }, '/'),
    h('code', {}, jobId),
  );
  const title = `${jobId} · ${queue}`;
  const forbidden = missing(bridge, 'read:jobs', 'this job', queue, jobId);
  if (forbidden) return { node: h('section.view', {}, crumbs, forbidden), title, close() {} };

  const job = Job(queue, jobId);
  const timeline = Timeline();
  const log = JobLog();
  const flow = Flow(bridge, job);
  const actions = Actions(page, job);
  const meter = h(
    'div.meter',
    { role: 'progressbar', 'aria-label': 'Progress', 'aria-valuemin': 0, 'aria-valuemax': 100, hidden: true },
    h('i'),
  );
  const going = h('p.going', { 'aria-live': 'off' });
  const told = h('p.told', { role: 'status' });
  const panel = (heading, ...inside) =>
    h('section.panel', { hidden: true }, h('div.panelhead', {}, h('h2', {}, heading)), ...inside);
  const [result, data, progress, failure] = ['div', 'div', 'div', 'p.reason'].map((each) => h(each));
  const trace = h('pre.trace', { tabindex: 0 });
  const panels = {
    result: panel('Result', result),
    failure: panel('Failure', failure, trace),
    data: panel('Data', data),
    progress: panel('Progress', progress),
  };
  panels.failure.classList.add('failure');
  const facts = h('dl.aside');
  const life = panel('Timeline', timeline.node, facts);
  const node = h(
    'section.view',
    {},
    crumbs,
    h('div.jobhead', {}, h('h1', {}, name), badge, actions.node),
    told,
    meter,
    going,
    life,
    panels.failure,
    panels.result,
    flow.node,
    log.node,
    panels.progress,
    panels.data,
  );
  const drawn = perFrame(draw);
  const lookAgain = Again(look);
  const shown = {}; // by place, the value there and its JSON
  let samples = []; // of the progress of this attempt
  let problem = ''; // why the bridge does not tell of this job
  let nowhere = ''; // a sentence, if it does not know the queue

  function put(place, value) {
    if (shown[place]?.value === value) return;
    const text = JSON.stringify(value);
    const same = shown[place]?.text === text;
    shown[place] = { value, text };
    if (same) return;
    panels[place].hidden = value === undefined;
    ({ result, data, progress })[place].replaceChildren(...(value === undefined ? [] : [ValueTree(value)]));
  }

  function draw() {
    const state = job.state || (job.unknown ? 'unknown' : LOADING);
    badge.dataset.state = state;
    say(badge.lastChild, state);
    say(name, job.name || `Job ${jobId}`);
    document.title = `${state} · ${job.name || jobId} · jobws`;
    const now = bridge.now();
    life.hidden = !timeline.draw(job, now);
    const part = state === 'completed' ? null : percentOf(job.progress);
    meter.hidden = part === null || state === 'waiting';
    if (part !== null) {
      meter.firstChild.style.transform = `scaleX(${part / 100})`;
      meter.setAttribute('aria-valuenow', Math.round(part));
    }
    say(going, state === 'active' ? progressLine(job.progress, leftAt(samples, now)) : '');
    mark(meter, 'stopped', state === 'failed');
    put(
      'progress',
      part === null && typeof job.progress === 'object' && job.progress !== null && state !== 'completed'
        ? job.progress
        : undefined,
    );
    put('result', state === 'completed' || state === 'removed' ? job.result : undefined);
    put('data', job.data);
    panels.failure.hidden = state !== 'failed';
    say(failure, job.reason ?? '');
    say(trace, state === 'failed' && job.stacktrace?.length ? job.stacktrace.join('\n\n') : '');
    trace.hidden = !trace.textContent;
    actions.draw();
    say(told, problem || (job.unknown ? nowhere || UNKNOWN : state === 'removed' ? 'This job was removed.' : ''));
    told.hidden = !told.textContent;
    const attempts = (job.attemptsMade ?? 0) + (state === 'active');
    const known = [
      ['Added', job.timestamp],
      ['Due', state === 'delayed' && job.due],
      ['Finished', job.finishedOn],
      ['Attempts', 0, attempts],
    ].filter(([, at, value]) => at || value);
    const text = JSON.stringify(known);
    if (facts.dataset.text !== text) {
      facts.dataset.text = text;
      const fact = ([term, at, value]) =>
        h('div', {}, h('dt', {}, term), h('dd', { title: whole(at) }, value ?? time(at)));
      facts.replaceChildren(...known.map(fact));
    }
  }

  /** Reads what events do not tell: the data, a large result, the reason and the stack trace. */
  async function look() {
    const found = await bridge.get('jobs', { queue, jobId }).catch((error) => error);
    problem = '';
    if (found instanceof Error) {
      if (!['unknown-job', 'unknown-queue'].includes(found.code)) {
        problem = found.message;
        lookAgain.later();
      } else if (job.state && job.largeOutcome) lookWhole(job.largeOutcome);
      else {
        lookAgain.done();
        job.unknown ||= !job.state;
      }
      return drawn();
    }
    lookAgain.done();
    const { returnvalue, failedReason, ...snapshot } = found;
    const { data, stacktrace } = snapshot;
    if (!samples.length) samples = firstSamples(found, timeOf(found.at));
    if (!merge(job, snapshot)) Object.assign(job, { data: data ?? job.data, stacktrace });
    if (found.state === job.state)
      Object.assign(job, found.state === 'completed' ? { result: returnvalue } : { reason: failedReason });
    job.unknown = false;
    drawn();
  }

  /** Reads the outcome of a job that is gone, by the id of its event, which was too large for a frame [protocol.md, H11]. */
  async function lookWhole(event) {
    job.largeOutcome = undefined;
    try {
      const { returnvalue, failedReason } = await bridge.get('jobs', { queue, jobId, event });
      if (ENDED.includes(job.state)) Object.assign(job, { result: returnvalue, reason: failedReason });
    } catch (error) {
      problem = error.message;
      if (error.code === 'gone') problem = 'The outcome was too large for an event, and Redis does not have it any more.';
      else {
        job.largeOutcome = event;
        lookAgain.later();
        return drawn();
      }
    }
    lookAgain.done();
    drawn();
  }

  function take(event, told, id) {
    if (event === 'ended') {
      nowhere = told.message;
      return drawn();
    }
    if (event === 'job-log') return log.take(told);
    if (event === 'gap') {
      job.at = undefined; // in a stream that is another one, positions begin again
      return look();
    }
    // An outcome that is made from the job's hash has no time of its own, but the hash has it [protocol.md, R2].
    if (id?.includes('~')) return look();
    const at = timeOf(id) ?? bridge.now();
    timeline.take(event, told, at);
    const part = event === 'progress' ? percentOf(told.data) : null;
    if (part !== null) samples = sampled(samples, part, at);
    if (event === 'active') samples = job.attemptsMade ? [] : [{ at, percent: 0 }];
    if (event === 'delayed') job.due = told.delay; // no snapshot tells it
    if (id && job.at && !isLater(id, job.at)) return drawn(); // the snapshot knows it
    job.unknown = false;
    apply(job, event, told, at);
    job.at = id ?? job.at;
    if (event === 'added' || event === 'active' || ENDED.includes(event)) {
      if (event === 'completed' && 'returnvalue' in told) job.result = told.returnvalue;
      if (event !== 'removed') {
        job.largeOutcome = told.truncated && id; // the id of an outcome that was too large for its event
        look();
      }
    }
    drawn();
  }

  const forgetConnect = bridge.onConnect(look);
  const leave = bridge.followJob(queue, jobId, take);
  look();
  draw();
  const stop = whileVisible(() => ENDED.includes(job.state) || draw(), 250);
  return {
    node,
    title,
    close() {
      leave();
      stop();
      forgetConnect();
      lookAgain.end();
      flow.close();
      drawn.stop();
    },
  };
}
