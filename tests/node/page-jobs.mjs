// What the page keeps of a queue's jobs (src/jobws/web/page/jobs.js), without a browser. Each scenario is a list of steps, from
// stdin as JSON; stdout gets, for each scenario, the jobs as texts, and what the bridge was asked.
import { readFileSync } from 'node:fs';
import { mock } from 'node:test';

mock.timers.enable({ apis: ['setTimeout'] });
const { Jobs, MOST } = await import(process.argv[2]);
const settled = () => new Promise((resolve) => setImmediate(resolve)); // all promises: nothing here waits for anything else

async function play(steps) {
  let [take, connect, redis, down, held] = [null, null, {}, false, null];
  const [asked, told] = [[], []];
  let [now, most] = [0, 0];
  const list = (state) => Object.values(redis).filter((each) => each.state === state);
  const bridge = {
    follow: (queue, events, listener) => ((take = listener), () => {}),
    onConnect: (listener) => ((connect = listener), () => {}),
    async get(path, { state }) {
      asked.push(state);
      most = Math.max(most, ++now);
      const found = down ? null : list(state);
      await (held ?? settled());
      now--;
      if (!found) throw new Error('no Redis');
      return { jobs: found, cursor: null };
    },
    async post(path, query, { jobs }) {
      asked.push(jobs.length);
      if (down) throw new Error('no Redis');
      const results = jobs.map((jobId) => ({ jobs: redis[jobId] ? [redis[jobId]] : [] }));
      await held;
      return { results };
    },
  };
  const jobs = Jobs(bridge, 'q', () => {}, ({ message }) => told.push(message));
  const does = {
    redis: (now) => (redis = Object.fromEntries(now.map(([jobId, state, at, more]) => [jobId, { jobId, state, at, name: `n${jobId}`, ...more }]))),
    event: (event, jobId, id, data) => take(event, { queue: 'q', jobId, ...data }, id),
    many: (event, count) => {
      for (let each = 0; each < count; each++) take(event, { queue: 'q', jobId: `m${each}`, name: 'x' }, `${each + 10}-0`);
    },
    down: (is) => (down = is),
    // Answers of the bridge wait from now on, until they are let go.
    hold() {
      held = new Promise((resolve) => (does.release = () => ((held = null), resolve())));
    },
    connect: () => connect(),
    forget: () => (asked.length = 0),
    async pass(milliseconds) {
      for (let each = 0; each < 8; each++) await settled();
      mock.timers.tick(milliseconds);
      for (let each = 0; each < 8; each++) await settled();
    },
  };
  for (const [name, ...of] of steps) await does[name](...of);
  await does.pass(0);
  const texts = jobs.order.slice(0, 20).map(({ jobId, name, state, progress }) => [jobId, name, state, progress ?? ''].join(' ').trim());
  jobs.close();
  return { jobs: texts, count: jobs.order.length, most, told, asked };
}

const played = [];
for (const steps of JSON.parse(readFileSync(0))) played.push(await play(steps));
console.log(JSON.stringify({ played, limit: MOST }));
