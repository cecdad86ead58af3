"""The two functions that make tokens, in Python and as docs/access.md prints it for Node, make the same tokens."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest

from jobws import tokens
from jobws.access.scope import Action, Entry, Place, parse_scope
from jobws.tokens import job_scope, mint
from tests.support import require
from tests.support.access_vectors import FOLDER, vectors
from tests.support.documents import block

SECRET = "0123456789abcdef0123456789abcdef"
NAMES = [each["text"] for each in vectors("segments")]
# The keyword arguments of the Python function, which are the options of Node's.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"sub": "ann"},
    {"sub": "\u2028\u3000\U0001f680 e\u0301 \u00e9 \" \\ / <"},
    {"seconds": 60, "audience": "bridge", "issuer": "https://app.example"},
]  # fmt: skip
# A Node program that reads names, and makes tokens for each of them with each of the options.
PROGRAM = """
import { readFileSync } from 'node:fs'
import { jobScope, mint } from './mint.mjs'
const names = JSON.parse(readFileSync(process.argv[2])).map(({ text }) => text)
const options = JSON.parse(process.argv[4])
const row = (scope) => [scope, ...options.map((each) => mint(process.argv[3], scope, each))]
console.log(JSON.stringify(names.map((name) => row(jobScope(name, name)))))
"""


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token, and check its signature."""
    signed, _, signature = token.rpartition(".")
    assert decoded(signature) == hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    header, claims = (json.loads(decoded(part)) for part in signed.split("."))
    return header, claims


def decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_scope_of_a_job_is_for_just_that_job(name: str) -> None:
    assert parse_scope(job_scope(name, name)) == (Entry(Action.READ_JOB, Place(name, name)),)


def test_node_makes_the_same_tokens(tmp_path: Path) -> None:
    (tmp_path / "mint.mjs").write_text(block("js", "createHmac"), encoding="utf-8")
    (tmp_path / "all.mjs").write_text(PROGRAM, encoding="utf-8")
    command = [require("node"), "all.mjs", str(FOLDER / "segments.json"), SECRET, json.dumps(OPTIONS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=True)
    rows: list[list[str]] = json.loads(done.stdout)
    assert [scope for scope, *_ in rows] == [job_scope(name, name) for name in NAMES]
    for scope, *made in rows:
        for token, options in zip(made, OPTIONS, strict=True):
            seconds = options.get("seconds", 900)
            expires = opened(token)[1]["exp"]
            assert abs(expires - time.time() - seconds) < 60
            rest = {"sub": None, "audience": None, "issuer": None, **options, "seconds": seconds}
            claims = tokens.claims_of(scope, expires - seconds, **rest)
            assert token == tokens.hs256_token(SECRET.encode(), claims)


def test_ours_as_the_page_prints_it() -> None:
    names: dict[str, Any] = {"secret": SECRET}
    exec(block("python", "mint(secret"), names)
    header, claims = opened(names["token"])
    expires = claims.pop("exp")
    assert header == {"alg": "HS256", "typ": "JWT"}
    assert claims == {"scope": "read:jobs:http/42", "sub": "ann"}
    assert 840 < expires - time.time() <= 900


def test_what_a_token_may_say() -> None:
    token = mint(SECRET.encode(), "read:logs admin", sub="ann", seconds=5.5, audience="bridge", issuer="app")
    claims = opened(token)[1]
    assert type(claims.pop("exp")) is int
    assert claims == {"scope": "read:logs admin", "sub": "ann", "aud": "bridge", "iss": "app"}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"secret": "x" * 31}, "the secret has 31 bytes; it needs at least 32"),
        ({"secret": b""}, "the secret has 0 bytes; it needs at least 32"),
        ({"scope": ""}, "the scope is empty; name at least one right, such as read:jobs:QUEUE/ID"),
        ({"seconds": 0}, "seconds must be above 0"),
        ({"seconds": float("nan")}, "seconds must be above 0"),
    ],
)
def test_what_is_not_minted(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        mint(**{"secret": SECRET, "scope": "read:logs", **changed})


@pytest.mark.parametrize(
    ("queue", "job_id", "sentence"),
    [
        ("", "1", "a queue and a job id must not be empty"),
        ("http", "", "a queue and a job id must not be empty"),
        ("*", "1", "no queue has the label"),
        ("http", "\ud800", "surrogates not allowed"),
    ],
)
def test_jobs_that_no_token_is_for(queue: str, job_id: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        job_scope(queue, job_id)


def test_minting_needs_nothing_that_is_installed() -> None:
    """`-S` hides all packages, also those of the client."""
    code = f"import sys; sys.path.append({str(Path(tokens.__file__).parents[1])!r}); import jobws.tokens as t; "
    code += f"print(t.mint({SECRET!r}, t.job_scope('http', '42')))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert opened(done.stdout.strip())[1]["scope"] == "read:jobs:http/42"
