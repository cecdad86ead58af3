// The example client of protocol.md, and what it tells: node walker.mjs URL
//
// Says "ready", then does what each line of standard input says, {"do": …}, and ends with standard input. Each line of
// standard output is what a watch is told: {name, event, data, id, replayed}.
//
//   {do: 'watch', name, jobId, options}
//   {do: 'leave', name}
//   {do: 'cut'}                          the connection ends without a word
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';
import { connect } from '../conformance/client.mjs';

let socket;
class Cuttable extends WebSocket {
  constructor(...how) {
    super(...how);
    socket = this;
  }
}

const client = connect(process.argv[2], { WebSocket: Cuttable, ping: 500, turn: 1000 });
const leave = {};
const commands = {
  watch({ name, jobId, options }) {
    leave[name] = client.watch(jobId, options, (event, data, { id, replayed }) =>
      process.stdout.write(JSON.stringify({ name, event, data, id, replayed }) + '\n'),
    );
  },
  leave: ({ name }) => leave[name](),
  cut: () => socket.terminate(),
};

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command);
}
process.exit();
