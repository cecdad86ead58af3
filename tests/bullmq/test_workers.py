"""Which of the clients of Redis are workers of a queue, from what CLIENT LIST says of them."""

from __future__ import annotations

import hiredis
import pytest

from jobws.bullmq.keys import Queue
from jobws.bullmq.workers import AskForWorkers

HTTP = Queue("shown", "bull", "http")
NODE, PYTHON = "bull:aHR0cA==", "bull:http"


def count(*clients: tuple[str, str], queue: Queue = HTTP, db: int = 0) -> int | None:
    """Return how many workers the queue has, if clients of database 0 have these names and last commands."""
    lines = [
        f"id={number} addr=10.0.0.1:5{number} laddr=10.0.0.9:6379 fd=8 name={name} age=7 idle=0 flags=b db=0 sub=0 "
        f"psub=0 multi=-1 qbuf=26 events=r cmd={command} user=default redir=-1"
        for number, (name, command) in enumerate(clients)
    ]
    workers = AskForWorkers(db).parse(["\n".join([*lines, ""]).encode()])
    assert workers is not None
    assert "10.0.0" not in repr(workers)
    return workers.of(queue)


@pytest.mark.parametrize(
    ("clients", "expected"),
    [
        ([], 0),
        ([("", "get"), ("", "evalsha")], 0),
        ([(NODE, "bzpopmin"), ("", "evalsha")], 1),
        ([(NODE, "bzpopmin"), (f"{NODE}:w:abc", "client|setname"), (f"{NODE}:w:", "bzpopmin")], 3),
        ([(f"{NODE}:qe", "xread"), (f"{NODE}:x", "bzpopmin"), ("bull:b3RoZXI=", "bzpopmin")], 0),
        ([("other:aHR0cA==", "bzpopmin"), ("bull:aHR0cA", "bzpopmin")], 0),
        # A worker of BullMQ for Python: both of its connections have the name.
        ([(PYTHON, "evalsha"), (PYTHON, "bzpopmin")], 1),
        ([(f"{PYTHON}:w:a", "hget"), (f"{PYTHON}:w:a", "client|setname"), (f"{PYTHON}s", "bzpopmin")], 1),
        ([(PYTHON, "client"), (NODE, "client")], 2),
        # A worker without a name may be this queue's, however its connection names itself.
        ([(NODE, "bzpopmin"), ("", "bzpopmin")], None),
        ([(NODE, "brpoplpush"), ("my-app", "brpoplpush")], None),
        ([(NODE, "bzpopmin"), ("my-app", "client|list")], 1),
    ],
)
def test_workers_are_told_by_their_names(clients: list[tuple[str, str]], expected: int | None) -> None:
    assert count(*clients) == expected


def test_those_of_another_database_do_not_count() -> None:
    assert count((NODE, "bzpopmin"), ("", "bzpopmin"), db=1) == 0


def test_a_name_that_is_not_ascii_is_that_of_the_queue() -> None:
    assert count(("my:app:w7xu", "bzpopmin"), ("my:app:w7xu2", "get"), queue=Queue("x", "my:app", "ün")) == 1


def test_what_redis_refuses_is_not_known() -> None:
    assert AskForWorkers(0).parse([hiredis.ReplyError("NOPERM no permissions")]) is None
    assert AskForWorkers(0).parse([None]) is None
