"""How tests are dealt to processes: one by one as a process becomes free, those of some files all to the same one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

# Tests wait more than they compute.
PROCESSES_PER_PROCESSOR: Final = 3
# What their tests share takes seconds to make, or each of them keeps a processor busy.
TOGETHER: Final = {
    "tests/redis/test_sentinel.py": "sentinels",
    "tests/redis/test_tls.py": "TLS",
    **{f"tests/chaos/test_{name}.py": "chaos" for name in ("chaos", "queues")},
    "tests/web/test_package.py": "package",
    "tests/test_layers.py": "layers",
    "tests/examples/test_pages.py": "Chromium",
    **{f"tests/web/test_{name}.py": "Chromium" for name in ("fallback", "network", "old_page", "origins", "workers")},
}


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Not `--dist loadgroup`, which pytest 9.2 leaves without effect: pytest-xdist 3.8 cannot rename tests there."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means."""
    return PROCESSES_PER_PROCESSOR * (os.cpu_count() or 1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """The order is that of the tests: not the files with the most tests first."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)
