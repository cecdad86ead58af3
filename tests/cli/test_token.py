"""`jobws token`: the tokens that it makes are accepted, and each error is one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from jobws.cli.run import run
from jobws.tokens import mint
from tests.support import require
from tests.support.documents import block
from tests.support.signing import SECRET, ec_key, encoded, jwk, jwks, number, signed_token


def jobws_token(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run `jobws token` in this process, since a start takes 0.3 s.

    Return exit code, standard output and standard error.
    """
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("JOBWS_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        code = run(["token", *arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return str(path)


def verified(token: str, *flags: str) -> dict[str, object]:
    code, out, err = jobws_token("--verify", token, *flags)
    assert (code, err) == (0, "")
    printed: dict[str, object] = json.loads(out)
    return printed


def test_a_token_for_a_job(secret: str) -> None:
    code, out, err = jobws_token("--job", "http/repeat:a/1*%", "--sub", "ann", "--jwt-secret-file", secret)
    assert (code, err) == (0, "")
    printed = verified(out.strip(), "--jwt-secret-file", secret)
    expires = printed.pop("expires")
    assert isinstance(expires, int)
    assert 840 < expires / 1000 - time.time() <= 900
    assert printed == {"sub": "ann", "iss": None, "scope": "read:jobs:http/repeat%3Aa%2F1%2A%25"}


def test_all_that_a_token_may_say(secret: str) -> None:
    said = ("--jwt-audience", "bridge", "--jwt-issuer", "app", "--jwt-scope-claim", "rights")
    made = jobws_token("--scope", "read:logs", "read:jobs:http", "--for", "2h", "--mint-secret-file", secret, *said)
    printed = verified(made[1].strip(), "--jwt-secret-file", secret, *said)
    expires = printed.pop("expires")
    assert isinstance(expires, int)
    assert 7100 < expires / 1000 - time.time() <= 7200
    assert printed == {"sub": None, "iss": "app", "scope": "read:logs read:jobs:http/*"}


def test_the_environment(secret: str, tmp_path: Path) -> None:
    env = {"JOBWS_JWT_SECRET": SECRET.decode(), "JOBWS_JWT_AUDIENCE": "bridge"}
    code, out, _ = jobws_token("--scope", "read:logs", "--scope", "write:logs", **env)
    assert code == 0
    printed = verified(out.strip(), "--jwt-secret-file", secret, "--jwt-audience", "bridge")
    assert printed["scope"] == "read:logs write:logs"
    old = tmp_path / "old"
    old.write_bytes(b"x" * 32)
    both = {**env, "JOBWS_JWT_SECRET_FILES": str(old)}
    assert jobws_token("--verify", out.strip(), **both)[0] == 0
    assert jobws_token("--scope", "admin", **both) == (
        *(2, "", "jobws: there are 2 secrets: name the one to sign with as --mint-secret-file\n"),
    )


def test_a_private_key_signs(tmp_path: Path) -> None:
    private = {**jwk(ec_key(), kid="a"), "d": number(ec_key().private_numbers().private_value, 32)}
    (tmp_path / "key").write_text(json.dumps(private))
    (tmp_path / "keys").write_bytes(jwks(jwk(ec_key(), kid="a")))
    code, out, err = jobws_token("--scope", "read:logs", "--mint-key-file", str(tmp_path / "key"))
    assert (code, err) == (0, "")
    assert verified(out.strip(), "--jwks-file", str(tmp_path / "keys"))["scope"] == "read:logs"


@pytest.mark.parametrize("lifetime", [None, "30d"])
def test_a_static_token(lifetime: str | None, tmp_path: Path) -> None:
    flags = () if lifetime is None else ("--for", lifetime)
    code, out, err = jobws_token("--static", "--sub", "nightly", "--scope", "write:jobs:http read:logs", *flags)
    hint = "jobws: the first line is the token; the second one is its line for a tokens file\n"
    assert (code, err) == (0, hint)
    token, line = out.splitlines()
    (tmp_path / "tokens").write_text(f"# programs\n{line}\n")
    printed = verified(token, "--tokens-file", str(tmp_path / "tokens"))
    expires = printed.pop("expires")
    assert printed == {"sub": "nightly", "iss": None, "scope": "write:jobs:http read:logs"}
    if lifetime is None:
        assert expires is None
    else:
        assert isinstance(expires, int)
        assert abs(expires / 1000 - time.time() - 30 * 86_400) < 60
    assert jobws_token(*("--static", "--sub", "a", "--scope", "admin"))[1].splitlines()[0] != token


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    require("openssl")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-ec", block("sh", "jobws token")]
    env = {**os.environ, "PATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    jwt, static, line = done.stdout.splitlines()
    (tmp_path / "tokens").write_text(line)
    assert verified(jwt, "--jwt-secret-file", str(tmp_path / "jobws.secret"))["scope"] == "read:jobs:http/42"
    assert verified(static, "--tokens-file", str(tmp_path / "tokens"))["sub"] == "nightly"


ONE = ("--scope", "read:logs")
FOR = "--for takes a number above 0 and s, m, h or d, for instance 15m; at most 36500d"
MANY = " ".join(f"read:jobs:http/{number:04}" for number in range(800))
ERRORS: list[tuple[tuple[str, ...], str]] = [
    ((), "say what the token allows: --job QUEUE/ID or --scope; or name a token with --verify"),
    (("--job", "http/1", *ONE), "--job and --scope exclude each other; --scope can name the job, too"),
    (("--job", "http"), "--job takes QUEUE/ID, for instance http/42"),
    (("--job", "/1"), "--job: a queue and a job id must not be empty"),
    (
        ("--job", "*/1"),
        "--job: no queue has the label *; for every queue write the scope yourself: read:jobs:*/ID",
    ),
    (
        ("--job", "http/active"),
        "--job: bad scope 'read:jobs:http/active': bad job id: \"active\" is the name of one of BullMQ's own keys",
    ),
    (("--job", "http/\udcff"), "job is no UTF-8 text"),
    (
        ("--scope", "read:jobs"),
        "--scope: bad scope 'read:jobs': it names no queue; * stands for every queue",
    ),
    ((*ONE, "--for", "15"), FOR),
    ((*ONE, "--for", "0m"), FOR),
    ((*ONE, "--for", "36501d"), FOR),
    ((*ONE, "--sub", ""), "--sub takes 1 to 256 characters"),
    ((*ONE, "--sub", "x" * 257), "--sub takes 1 to 256 characters"),
    ((*ONE, "--static"), "--static needs --sub, the name of the token's holder in the tokens file"),
    (
        (*ONE, "--static", "--sub", "a b"),
        "--static: sub must have 1 to 256 printable characters without a space",
    ),
    (
        ONE,
        "no key to sign with: name --mint-secret-file, --mint-key-file or one --jwt-secret-file, "
        "or set JOBWS_JWT_SECRET",
    ),
    (
        (*ONE, "--mint-secret-file", "a", "--mint-key-file", "b"),
        "--mint-secret-file and --mint-key-file exclude each other",
    ),
    ((*ONE, "--mint-secret-file", "/nowhere"), "cannot read /nowhere: No such file or directory"),
    ((*ONE, "--mint-key-file", "/"), "cannot read /: Is a directory"),
    (
        (*ONE, "--mint-secret-file", "/dev/null"),
        "/dev/null: the secret has 0 bytes; it needs at least 32: openssl rand -base64 48 makes one",
    ),
    (
        (*ONE, "--mint-key-file", "/dev/null"),
        "/dev/null: this is no JSON Web Key (Expecting value: line 1 column 1 (char 0))",
    ),
    (
        ("--verify", "x", *ONE),
        "--verify makes no token: leave out --job, --scope, --for, --sub and --static",
    ),
    (
        ("--verify", "a.b.c"),
        "no key to verify a JWT with: name --jwt-secret-file or --jwks-file, or set JOBWS_JWT_SECRET",
    ),
    (
        ("--verify", "a.b.c", "--jwks-file", "/dev/null"),
        "/dev/null: this is no JSON Web Key Set (Expecting value: line 1 column 1 (char 0))",
    ),
    (("--verify", "jobws_x"), "no file to look a static token up in: name --tokens-file"),
    (("--jwt-leeway", "-1", *ONE), 'Invalid value "-1.0" for --jwt-leeway. Must be >= 0.'),
]


@pytest.mark.parametrize(("arguments", "sentence"), ERRORS, ids=range(len(ERRORS)))
def test_errors_are_one_line(arguments: tuple[str, ...], sentence: str) -> None:
    assert jobws_token(*arguments) == (2, "", f"jobws: {sentence}\n")


def test_a_token_that_no_bridge_would_take(secret: str) -> None:
    code, out, err = jobws_token("--scope", MANY, "--mint-secret-file", secret)
    assert (code, out) == (2, "")
    assert err.startswith("jobws: no bridge would take the token: it has ")
    assert err.endswith(" characters; the limit in the request authenticate is 16384\n")


def test_a_bad_line_of_the_tokens_file(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("nonsense\n")
    path = str(tmp_path / "tokens")
    assert jobws_token("--verify", "jobws_x", "--tokens-file", path) == (
        *(2, "", f"jobws: {path}, line 1: expected: sha256-hex sub expiry|never scope…\n"),
    )


EXPIRED = signed_token({"alg": "HS256"}, {"exp": 1_700_000_000, "scope": "admin"})
REFUSED = [
    (mint(b"x" * 32, "admin"), "its HS256 signature is wrong: another key signed it, or it was changed"),
    (mint(SECRET, "admin", audience="a"), "it has an aud, and --jwt-audience is not set"),
    (
        mint(SECRET, "openid"),
        "bad scope 'openid': there is no such right; a colon of a name is written %3A",
    ),
    (f"{encoded(b'{}')}.e30.", "its alg is None; accepted are HS256, RS256, ES256 and EdDSA"),
    ("x", "it has 1 parts with a dot between them; a JWT has 3"),
    ("a b", "it has a character that is not one of A-Z a-z 0-9 - . _ ~"),
    ("x" * 16385, "it has 16385 characters; the limit in the request authenticate is 16384"),
]


@pytest.mark.parametrize(("token", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_why_a_token_is_refused(token: str, reason: str, secret: str) -> None:
    assert jobws_token("--verify", token, "--jwt-secret-file", secret) == (6, "", f"jobws: {reason}\n")


def test_an_expired_token(secret: str) -> None:
    code, out, err = jobws_token("--verify", EXPIRED, "--jwt-secret-file", secret)
    assert (code, out) == (6, "")
    assert err.startswith("jobws: it expired at 1700000000; now it is 1")


def test_a_revoked_token(secret: str, tmp_path: Path) -> None:
    token = signed_token({"alg": "HS256"}, {"exp": time.time() + 60, "scope": "admin", "jti": "t1"})
    revoked = tmp_path / "revoked"
    flags = ("--verify", token, "--jwt-secret-file", secret, "--revoked-file", str(revoked))
    assert jobws_token(*flags) == (2, "", f"jobws: cannot read {revoked}: No such file or directory\n")
    revoked.write_text("t2\n")
    assert jobws_token(*flags)[0] == 0
    revoked.write_text("t2\nt1\n")
    assert jobws_token(*flags) == (6, "", "jobws: its jti, 't1', is revoked\n")


def test_a_token_on_standard_input(secret: str) -> None:
    command = [sys.executable, "-m", "jobws", "token", "--verify", "-", "--jwt-secret-file", secret]
    done = subprocess.run(command, input=mint(SECRET, "admin") + "\n", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["scope"] == "admin"


@pytest.mark.parametrize(
    ("arguments", "purpose"),
    [
        (("--verify", "a.b.c"), "jobws token --verify"),
        ((*ONE, "--mint-secret-file", "/dev/null"), "jobws token"),
        ((*ONE, "--mint-key-file", "/dev/null"), "--mint-key-file"),
    ],
    ids=range(3),
)
def test_what_needs_an_extra(arguments: tuple[str, ...], purpose: str) -> None:
    code = "import sys\nsys.modules['jwt'] = None\nfrom jobws.__main__ import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, "token", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, f"jobws: {purpose} needs an extra: pip install 'jobws[jwt]'\n")
