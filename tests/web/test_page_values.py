"""What the page makes of events and snapshots, without a browser: a job's lives, times, the clock of Redis."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from tests.support import require
from tests.support.page_server import ADAPTER

# Reads expressions as JSON, and writes their values. `done` is a job that has completed, as a snapshot of Redis tells.
EVALUATE: Final = """
import { readFileSync } from 'node:fs';
import { mock } from 'node:test';
mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1000000 });
const modules = await Promise.all(['model', 'format', 'clock', 'again'].map((name) => import(`SOURCES/${name}.js`)));
const { apply, merge, timeOf, Job, Clock, Again } = Object.assign({}, ...modules);
const snapshot = (state, at, more) => ({ jobId: '1', name: 'n', state, at, attemptsMade: 1, timestamp: 5, ...more });
const seen = (...snapshots) => snapshots.reduce((job, each) => (merge(job, each), job), Job('q', '1'));
const after = (job, ...events) => {
  for (const [event, id, data] of events) (apply(job, event, { ...data }, timeOf(id)), (job.at = id));
  return job;
};
const known = (job) => Object.fromEntries(Object.entries(job).filter(([, value]) => value !== undefined));
const clock = (...notes) => {
  const made = Clock();
  for (const [wait, id, live] of notes) (mock.timers.tick(wait), made.note(id(Date.now()), live));
  return made.now() - Date.now();
};
const from = (milliseconds) => (now) => `${now + milliseconds}-0`;
// When it runs, if it fails each time, within two minutes. `until` is what happens then.
const runs = (until = () => {}) => {
  const found = [];
  const begin = Date.now();
  const again = Again(() => (found.push(Date.now() - begin), again.later()));
  again.later();
  until(again);
  for (let each = 0; each < 240; each++) mock.timers.tick(500);
  again.end();
  return found;
};
const scope = {
  ...Object.assign({}, ...modules), snapshot, seen, after, known, clock, from, runs,
  done: () => seen(snapshot('completed', '20-0', { processedOn: 7, finishedOn: 9, progress: 100, data: { a: 1 } })),
};
const evaluate = (expression) => new Function(...Object.keys(scope), `return ${expression}`)(...Object.values(scope));
console.log(JSON.stringify(JSON.parse(readFileSync(0)).map((each) => evaluate(each) ?? null)));
""".replace("SOURCES", str(ADAPTER.parent / "page"))

_NEW: Final = {"queue": "q", "jobId": "1", "name": "new", "state": "waiting", "attemptsMade": 0, "timestamp": 30}
_AGAIN: Final = {"queue": "q", "jobId": "1", "name": "n", "attemptsMade": 1, "timestamp": 5}

VALUES: Final[dict[str, Any]] = {
    # Another job of the same id has nothing of the one before.
    "known(after(done(), ['added', '30-0', {name: 'new'}]))": {**_NEW, "at": "30-0"},
    "known(after(done(), ['waiting', '30-0', {prev: 'completed'}])).progress": None,
    # What a later snapshot leaves out is not so any more.
    "known(seen(done(), snapshot('waiting', '40-0')))": {**_AGAIN, "state": "waiting", "at": "40-0"},
    "known(seen(done(), snapshot('active', '10-0'))).state": "completed",
    "after(Job('q', '1'), ['progress', '30-0', {data: 5}]).state": "",
    # This snapshot is older than the event, but the only one that knows more.
    "(job => (merge(job, snapshot('active', '20-0')), [job.state, job.progress, job.name]))"
    "(after(Job('q', '1'), ['progress', '30-0', {data: 5}]))": ["active", 5, "n"],
    "after(seen(snapshot('active', '20-0')), ['failed', '30-0', {failedReason: 'x'}]).reason": "x",
    # An event has the reason, a list does not.
    "seen(after(seen(), ['failed', '30-0', {failedReason: 'x'}]), snapshot('failed', '40-0')).reason": "x",
    "seen(after(seen(), ['waiting', '30-0']), snapshot('waiting', '40-0')).since": 30,
    "duration(undefined)": "–",
    "duration(1000)": "1.0 s",
    "time(undefined)": "–",
    "whole(undefined)": "",
    "clock()": 0,
    "clock([0, from(-40), true])": -40,
    "clock([0, from(5000)])": 5000,
    # What was read back says only that the clock is not behind it.
    "clock([0, from(-9000)])": 0,
    "clock([0, from(-20), true], [1000, from(-90), true])": -20,
    "clock([0, from(5000), true], [61000, from(-30), true], [61000, from(-40), true])": -40,
    "runs().slice(0, 8)": [500, 1500, 3500, 7500, 15500, 31500, 61500, 91500],
    "runs((again) => again.now())[0]": 0,
    "runs((again) => again.done())": [],
    "runs((again) => (again.end(), again.later()))": [],
}


def test_values() -> None:
    command = [require("node"), "--no-warnings", "--input-type=module", "-e", EVALUATE]
    done = subprocess.run(
        command, input=json.dumps(list(VALUES)), capture_output=True, text=True, check=True, timeout=60
    )
    assert dict(zip(VALUES, json.loads(done.stdout), strict=True)) == VALUES
