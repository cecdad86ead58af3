"""What the elements make of values, without a page: durations, progress, the time left, repeated log lines, answers."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from tests.support import require
from tests.support.page_server import ADAPTER

SOURCES: Final = ADAPTER.parent / "src" / "elements"
# Reads expressions as JSON, and writes their values. `even` and `slower` are samples of progress. `log` and `after`
# tell a job what happens to it next; `job` is active, and has been tried once, and `runs` is one in its first attempt.
EVALUATE: Final = """
import { readFileSync } from 'node:fs';
const modules = await Promise.all(['time', 'progress', 'job'].map((name) => import(`SOURCES/${name}.js`)));
const { sampled, answered, told, NOTHING } = Object.assign({}, ...modules);
const samples = (list) => list.reduce((all, [at, percent]) => sampled(all, percent, at), []);
const snapshot = (state, at) => ({ jobs: [{ queue: 'q', jobId: '1', name: 'n', state, at, attemptsMade: 1 }] });
const scope = {
  ...Object.assign({}, ...modules),
  even: samples([[0, 0], [2000, 10], [4000, 20]]),
  slower: samples([[0, 0], [1000, 50], [30000, 60], [60000, 65]]),
  snapshot,
  job: answered(NOTHING, snapshot('active', '20-0')),
  runs: (more) => {
    const [found] = snapshot('active', '5000-0').jobs;
    const known = { ...found, attemptsMade: 0, processedOn: 1000, progress: 20, ...more };
    return answered(NOTHING, { jobs: [known] }, 100000);
  },
  after: (job, event, id, data) => told(job, event, { queue: 'q', jobId: '1', ...data }, id, 0),
  log: (...all) => all.reduce((job, data) => told(job, 'job-log', data), NOTHING).lines.join(' '),
};
const evaluate = (expression) => new Function(...Object.keys(scope), `return ${expression}`)(...Object.values(scope));
console.log(JSON.stringify(JSON.parse(readFileSync(0)).map((each) => evaluate(each) ?? null)));
""".replace("SOURCES", str(SOURCES))

VALUES: Final[dict[str, Any]] = {
    "duration(40)": "40 ms",
    "duration(-5)": "0 ms",
    "duration(9999)": "9.9 s",
    "duration(42400)": "42 s",
    "duration(125000)": "2 min 5 s",
    "duration(3600000)": "1 h",
    "duration(90000000)": "1 d 1 h",
    "running(1900)": "1 s",
    "percentOf(42)": 42,
    "percentOf(142)": 100,
    "percentOf({percent: 7})": 7,
    "percentOf({done: 1, total: 4})": 25,
    "percentOf({done: 0, total: 0})": None,
    "percentOf('half')": None,
    "percentOf(null)": None,
    "wordsOf('half')": "half",
    "wordsOf({percent: 3, step: 'reading'})": "reading",
    "wordsOf({odd: 1, names: ['a', 'b'], of: {}, none: null})": "odd: 1, names: [2], of: {…}, none: null",
    "wordsOf([3, 'x', []])": "3, x, [0]",
    "wordsOf({processed: 1, max: 40})": "1 of 40",
    "wordsOf({percent: 3, odd: 1})": "",
    "wordsOf(50)": "",
    "leftAt(even, 4000)": 16000,
    "leftAt(even, 6000)": 14000,
    "leftAt(even.slice(-1), 4000)": None,
    # The rate of the last half minute counts: 5 %.
    "leftAt(slower, 60000)": 210_000,
    # A job that makes no progress is not expected to take longer.
    "leftAt(even, 30000)": None,
    # A snapshot tells of four seconds, in which a run came to 20 %, and of no first progress of a second attempt.
    "leftAt(runs({}).samples, 100000)": 16000,
    "leftAt(runs({}).samples, 106000)": 10000,
    "runs({attemptsMade: 1}).samples": [],
    "runs({progress: 'reading'}).samples": [],
    "runs({processedOn: undefined}).samples": [],
    "runs({state: 'waiting'}).samples": [],
    "after(runs({}), 'active', '6000-0').samples": [{"at": 0, "percent": 0}],
    "after(job, 'active', '21-0').samples": [],
    "answered({...runs({}), samples: even}, {jobs: []}, 0).samples.length": 3,
    # An attempt that begins anew does not count with the one before.
    "sampled(even, 5, 5000).length": 1,
    "log({lines: ['a', 'b'], first: 0}, {lines: ['c'], first: 2})": "a b c",
    # From two subscriptions.
    "log({lines: ['a', 'b'], first: 0}, {lines: ['a', 'b', 'c'], first: 0})": "a b c",
    # The list was emptied.
    "log({lines: ['a', 'b'], first: 0}, {lines: ['x'], first: 0})": "a b x",
    "log({lines: ['a', 'b'], first: 0}, {lines: ['b'], first: 0, gap: true})": "a b … lines may be missing here b",
    "after(job, 'waiting', '21-0', {prev: 'active'}).attempts": 2,
    # The snapshot knows it already.
    "after(job, 'waiting', '20-0', {prev: 'active'}).state": "active",
    # The job of that id in another queue is another job.
    "after(job, 'failed', '21-0', {queue: 'other', failedReason: 'x'}).state": "active",
    "after(job, 'completed', '21-0', {returnvalue: 7}).attempts": 2,
    # The answer is older than an event which came with it.
    "answered(after(NOTHING, 'completed', '21-0', {returnvalue: 7}), snapshot('active', '20-0')).state": "completed",
    # It was retried while the connection was away.
    "answered(after(job, 'failed', '21-0', {failedReason: 'x'}), snapshot('waiting', '30-0')).reason": "",
    "answered(after(job, 'failed', '21-0', {failedReason: 'x'}), snapshot('failed', '30-0')).reason": "x",
}


def test_values() -> None:
    command = [require("node"), "--input-type=module", "-e", EVALUATE]
    done = subprocess.run(
        command, input=json.dumps(list(VALUES)), capture_output=True, text=True, check=True, timeout=60
    )
    assert dict(zip(VALUES, json.loads(done.stdout), strict=True)) == VALUES
