"""A fixture of tests about `POST /events`."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_early_pong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the `pong` half a second after the last answer. On a busy machine it would come before an event that
    the test reports meanwhile.
    """
    monkeypatch.setattr("jobws.server.http.websocket_over_http.POSITION_SECONDS", 3600.0)
