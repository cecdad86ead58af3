// A worker of the queue "http". It knows nothing of jobws: what clients see is BullMQ's own, and one stream in Redis.
//   npm install && node worker.mjs
//   jobws submit http '{"url": "http://127.0.0.1:8787/healthz"}'
//   jobws watch ID --queue http --logs                # the lines of the job
//   jobws logs -f                                     # the log
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: null });

function log(level, message, about = {}) {
  const fields = { level, source: 'node-worker', message, ...about };
  // A line that cannot be written must not fail a job.
  redis.xadd('jobws:logs', 'MAXLEN', '~', 10000, '*', ...Object.entries(fields).flat()).catch(() => {});
}

async function fetchPage(job) {
  const about = { queue: job.queueName, jobId: job.id };
  log('info', `fetching ${job.data.url}`, about);
  const answer = await fetch(job.data.url);
  await job.updateProgress(50);
  await job.log(`${job.data.url} answered ${answer.status}`);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const text = await answer.text();
  log('info', 'fetched', { ...about, bytes: text.length });
  return { status: answer.status, bytes: text.length };
}

const worker = new Worker('http', fetchPage, { connection: redis });
worker.on('failed', (job, error) => log('error', error.message, { queue: 'http', jobId: job?.id ?? '' }));
await worker.waitUntilReady();
console.log('ready');

process.once('SIGTERM', async () => {
  await worker.close(); // after the job that it has
  redis.disconnect();
});
