// What a good engineer writes in an hour: BullMQ's QueueEvents and plain `ws`, each event serialised once for all its
// clients, frames like those of jobws.v1. It keeps no promise about what is missed; it is here to be measured.
//   npm install && PORT=3000 REDIS_PORT=6379 node plain.mjs        (prints "ready")
import { QueueEvents } from 'bullmq';
import { WebSocketServer } from 'ws';

const rooms = new Map(); // the clients of each job

function join(client, jobId) {
  const members = rooms.get(jobId) ?? new Set();
  rooms.set(jobId, members.add(client));
}

function leave(client, jobId) {
  const members = rooms.get(jobId);
  members?.delete(client);
  if (members?.size === 0) rooms.delete(jobId);
}

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000), perMessageDeflate: false });
server.on('connection', (client) => {
  const joined = new Set();
  client.on('message', (message) => {
    const { event, data, ref } = JSON.parse(message);
    if (event !== 'subscribe-job') return;
    for (const jobId of [data].flat()) {
      join(client, jobId);
      joined.add(jobId);
    }
    client.send(JSON.stringify({ event: 'ack', ref }));
  });
  client.on('close', () => {
    for (const jobId of joined) leave(client, jobId);
  });
});

const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT ?? 6379) };
for (const queue of ['http', 'sparql', 'techstack', 'analyzer']) {
  const events = new QueueEvents(queue, { connection });
  for (const event of ['completed', 'failed']) {
    events.on(event, (payload) => {
      const members = rooms.get(payload.jobId);
      if (!members) return;
      const frame = Buffer.from(JSON.stringify({ event, data: { queue, ...payload } }));
      for (const client of members) client.send(frame, { binary: false });
    });
  }
}

server.on('listening', () => console.log('ready'));
