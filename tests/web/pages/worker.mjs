// The adapter in a worker of any kind, which tells whoever asks what became of a job.
import { io } from '/jobws-all.js';

async function answer({ bridge, job }, asker) {
  const jobs = io(bridge);
  asker.postMessage(await jobs.wait(job, { expect: true, timeout: 15000 }).catch(String));
  jobs.disconnect();
}

self.onmessage = (message) => {
  const answered = answer(message.data, message.source ?? self);
  message.waitUntil?.(answered);
};
self.onconnect = ({ ports: [port] }) => {
  port.onmessage = (message) => answer(message.data, port);
};
