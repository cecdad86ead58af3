// bull-board, as its README sets it up, with what it does by default: it asks its server every five seconds.
//   npm install && PORT=3000 REDIS_PORT=6379 node board.mjs        (prints "ready")
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import { Queue } from 'bullmq';
import express from 'express';

const { REDIS_PORT, REDIS_PASSWORD: password, QUEUE = 'http' } = process.env;
const connection = { host: '127.0.0.1', port: Number(REDIS_PORT), password };
const serverAdapter = new ExpressAdapter();
createBullBoard({ queues: [new BullMQAdapter(new Queue(QUEUE, { connection }))], serverAdapter });
const app = express();
app.use('/', serverAdapter.getRouter());
app.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready'));
