"""Distributes tests over processes: one by one to the next free process, but all tests of some files to the same
one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

# More than one, since tests wait more than they compute.
PROCESSES_PER_PROCESSOR: Final = 3
# Files whose tests run in one process: what the tests share takes seconds to make, or each test keeps a processor busy.
TOGETHER: Final = {
    "tests/redis/test_sentinel.py": "sentinels",
    "tests/redis/test_tls.py": "TLS",
    **{f"tests/chaos/test_{name}.py": "chaos" for name in ("chaos", "queues")},
    "tests/web/test_package.py": "package",
    "tests/test_layers.py": "layers",
    **{f"tests/web/test_{name}.py": "extension" for name in ("extension", "extension_positions")},
    **{f"tests/web/test_page_{name}.py": "demo" for name in ("on_the_demo", "returns_on_the_demo")},
    **{f"tests/examples/test_{name}.py": "Chromium" for name in ("own_jobs", "pages")},
    **{
        f"tests/web/test_{name}.py": "Chromium"
        for name in ("fallback", "foreign_pages", "network", "old_page", "origins", "proxies", "workers")
    },
}


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps the tests of a group in one process. `--dist loadgroup` would do this, but has no effect with pytest
    9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes `-n auto` means."""
    return PROCESSES_PER_PROCESSOR * (os.cpu_count() or 1)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Return the scheduler. It keeps the order of the tests, instead of beginning with the largest files."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)
