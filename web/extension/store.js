/**
 * What the extension keeps. Its pages and its worker share nothing else. Pages write what the user wants, the worker writes
 * what it was told, and `chrome.storage.onChanged` tells the other side, and wakes the worker.
 *
 * On the disk (`local`): `bridge`, `{url, at}`, with the time when it was saved; by job `watch:…`, `{queue, jobId, since}`;
 * `told:…`, `{since, state, at, after}`, the job's state, since when, if that is known, and the positions from which the worker goes on.
 * In memory (`session`), gone with the browser, since it may be secret: `access`, `{url, token}`; `connection`,
 * `{state, message, at}`; by job `shown:…`, `{since, name, progress, text, note}`.
 */

const { local, session } = chrome.storage;

/** Whether a job in this state has ended. */
export const isOutcome = (state) => ['completed', 'failed', 'removed'].includes(state);

/** Returns the key of a job of a queue, or of the jobs of that id in every queue, for which `queue` is null. */
export const keyOf = ({ queue, jobId }) => JSON.stringify([queue, jobId]);

/**
 * Returns everything. `bridge` is null if there is none, else `{url, at, token}`: a token is for one bridge, and goes to no
 * other. `jobs` maps keys to `{queue, jobId, since, told, shown}`.
 */
export async function everything() {
  const [kept, memory] = await Promise.all([local.get(), session.get()]);
  const { bridge = null } = kept;
  const { access, connection = { state: 'idle' } } = memory;
  const jobs = Object.entries(kept)
    .filter(([name]) => name.startsWith('watch:'))
    .sort(([, one], [, other]) => other.since - one.since)
    .map(([name, watched]) => {
      const key = name.slice('watch:'.length);
      // What is left of an earlier watch of the job has another `since`.
      const ofThis = (it) => (it?.since === watched.since ? it : {});
      return [key, { ...watched, told: ofThis(kept[`told:${key}`]), shown: ofThis(memory[`shown:${key}`]) }];
    });
  const token = access?.url === bridge?.url ? access?.token : undefined;
  return { bridge: bridge && { ...bridge, token }, connection, jobs: new Map(jobs) };
}

/** Watch a job `{queue, jobId}`: from the beginning, if it was watched before and has ended. */
export async function watch({ queue, jobId }) {
  const key = keyOf({ queue, jobId });
  const before = (await everything()).jobs.get(key);
  if (!before || isOutcome(before.told.state)) await local.set({ [`watch:${key}`]: { queue, jobId, since: Date.now() } });
}

/** Forget jobs. */
export async function forget(keys) {
  await local.remove(keys.flatMap((key) => [`watch:${key}`, `told:${key}`]));
  await session.remove(keys.map((key) => `shown:${key}`));
}

/** Remove what the worker wrote of jobs that had just been forgotten. */
export async function clean() {
  const kept = await local.get();
  await local.remove(Object.keys(kept).filter((name) => name.startsWith('told:') && !kept[name.replace('told', 'watch')]));
}

/** Use the bridge at a URL, with a token or ''. The worker connects anew. */
export async function use(url, token) {
  await session.set({ access: { url, token: token || undefined } });
  await local.set({ bridge: { url, at: Date.now() } });
}

/** Forget a token, unless there is another one now. */
export async function forgetToken(refused) {
  const { access } = await session.get('access');
  if (access?.token === refused) await session.remove('access');
}

/** Write something. Where the browser has no room for it, the worker goes on with what it has in its memory. */
const keep = (area, values) => area.set(values).catch(console.warn);

export const keepTold = (key, { since, told }) => keep(local, { [`told:${key}`]: { ...told, since } });
export const keepShown = (key, { since, shown }) => keep(session, { [`shown:${key}`]: { ...shown, since } });
export const keepConnection = (state, message, at) => keep(session, { connection: { state, message, at } });
