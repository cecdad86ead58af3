// Mounts app.tsx's App with real React in a document of jsdom: node mount.mjs URL
// A line of standard input is the App's properties as JSON, or null to unmount it. What is shown, and each request that
// is sent to the bridge, is written as a line of JSON.
import { createInterface } from 'node:readline';
import { JSDOM } from 'jsdom';
import WebSocket from 'ws';

const { window } = new JSDOM('<main></main>');
Object.assign(globalThis, { window, document: window.document });
globalThis.navigator ??= window.navigator; // newer Nodes have one
// React looks at them when it is loaded.
const { createElement } = await import('react');
const { createRoot } = await import('react-dom/client');
const { io } = await import('jobws');
const { App } = await import('./built/app.js');

const write = (line) => console.log(JSON.stringify(line));
class Told extends WebSocket {
  send(text) {
    const { event, data } = JSON.parse(text);
    if (event !== 'ping') write({ [event]: data });
    super.send(text);
  }
}

const jobs = io(process.argv[2], { WebSocket: Told });
const main = window.document.querySelector('main');
const shown = () => write([...main.querySelectorAll('li')].map((item) => item.textContent));
new window.MutationObserver(shown).observe(main, { childList: true, characterData: true, subtree: true });
const root = createRoot(main);
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const properties = JSON.parse(line);
  root.render(properties && createElement(App, { jobs, ...properties }));
}
process.exit(); // whoever waits for that may be the bridge, which then says no goodbye
