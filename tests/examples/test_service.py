"""examples/systemd: what systemd says of the unit, and its command as a user without any rights."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobws.embedded import free_port
from tests.support import miss, require
from tests.support.documents import ROOT

if TYPE_CHECKING:
    from tests.support.redis import Redis

UNIT: Final = ROOT / "examples" / "systemd" / "jobws.service"
# The user `nobody`, without groups. It may read every file, since this Python may be in a folder of root, and no more.
AS_NOBODY: Final = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"),
    *("--bounding-set=-all,+dac_read_search", "--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"),
)


def test_systemd_finds_little_that_the_service_could_do() -> None:
    analyze = require("systemd-analyze")
    command = [analyze, "security", "--offline=yes", "--threshold=20", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.findall(r"Unknown (?:key|section|lvalue).*", done.stderr)


def test_its_command_serves_as_a_user_without_rights(redis: Redis) -> None:
    require("setpriv")
    if os.geteuid() != 0:
        miss("root", "only root can run a program as another user")
    (start,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    program, *arguments = shlex.split(start)
    assert program == "/opt/jobws/bin/jobws"
    port = free_port()
    command = [*AS_NOBODY, sys.executable, "-m", "jobws", *arguments, "--port", str(port)]
    environment = {"PATH": os.environ["PATH"], "JOBWS_REDIS": redis.url}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd="/") as bridge:
        assert bridge.stderr is not None
        try:
            log = ""
            for line in bridge.stderr:
                log += line
                if " serves http" in line:
                    break
            else:
                raise AssertionError(log)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
                assert answer.status == 200
            assert "Uid:\t65534\t65534\t65534\t65534" in Path(f"/proc/{bridge.pid}/status").read_text("ascii")
        finally:
            bridge.terminate()
            bridge.stderr.read()
        assert bridge.wait(60) == 0
