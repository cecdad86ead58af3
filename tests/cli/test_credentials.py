"""The token of the commands: where it comes from, and what it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobws.cli.credentials import TokenFlags
from jobws.errors import ConfigurationError
from tests.support.command import Command
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis


def test_the_first_place_that_has_a_token_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_text("from-file\n")
    theirs.write_text("from-variable-file\n")
    monkeypatch.delenv("JOBWS_TOKEN", raising=False)
    monkeypatch.setenv("JOBWS_TOKEN_FILE", str(theirs))
    assert TokenFlags().headers() == {"Authorization": "Bearer from-variable-file"}
    monkeypatch.setenv("JOBWS_TOKEN", "from-variable")
    assert TokenFlags().headers() == {"Authorization": "Bearer from-variable"}
    assert TokenFlags(token_file=ours).headers() == {"Authorization": "Bearer from-file"}
    assert TokenFlags(token="from-flag", token_file=ours).headers() == {"Authorization": "Bearer from-flag"}
    monkeypatch.delenv("JOBWS_TOKEN")
    monkeypatch.delenv("JOBWS_TOKEN_FILE")
    assert TokenFlags().headers() == {}


def test_a_file_is_read_when_a_token_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    read = TokenFlags(token_file=file).read()
    file.write_text("new")
    assert callable(read)
    assert read() == "new"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"token": "a b"}, "the token must be printable ASCII without spaces"),
        ({"token": ""}, "the token must be printable ASCII without spaces"),
        ({"token_file": "missing"}, "cannot read {folder}/missing: No such file or directory"),
        ({"token_file": "binary"}, "{folder}/binary holds no token: it is not ASCII"),
    ],
)
def test_a_token_that_cannot_be_sent_says_so(flags: dict[str, str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    file = tmp_path / flags["token_file"] if "token_file" in flags else None
    with pytest.raises(ConfigurationError) as raised:
        TokenFlags(token=flags.get("token"), token_file=file).headers()
    assert str(raised.value) == sentence.format(folder=tmp_path)


def test_no_token_is_shown() -> None:
    assert "secret" not in repr(TokenFlags(token="secret"))


async def test_a_submitted_job_comes_with_its_token(redis: Redis) -> None:
    redis.add_job("http", "other", state="completed", returnvalue="1")
    async with keyed_bridge(redis.url) as live:
        there = ("--url", live.url)
        mine = {"JOBWS_TOKEN": jwt("write:jobs:http")}
        code, out, err = await Command("submit", "http", "1", "--with-token", *there, environment=mine).end()
        assert (code, err) == (0, "")
        job_id, token = out.splitlines()
        page = ("--queue", "http", "--token", token, *there)
        assert (await Command("status", job_id, *page).end())[:2] == (0, f"http/{job_id} waiting\n")
        refusal = f"jobws: the bridge at {live.url} refuses: the token does not allow this\n"
        assert await Command("status", "other", *page).end() == (6, "", refusal)
        code, _, err = await Command("status", job_id, "--queue", "http", *there).end()
        assert (code, err.partition("refuses: ")[2]) == (
            6,
            "this needs a token, in the header Authorization: Bearer TOKEN\n",
        )
