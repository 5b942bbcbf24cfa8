"""What of a text is shown: no secret in any form that people write, and everything else as it was."""

from __future__ import annotations

import json

import pytest

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.masking import masked, masked_in, masked_json
from dualsweep.trainer.config.wording import show, with_class

SECRET = "s3cr3tS3cr3tS3cr3tS3cr3t"
HIDDEN = [
    "postgresql://me:{}@db/mlflow",
    "http://{}@host/x",
    "http://me:a/{}@host/x",
    "http://me:a@{}@host/x",
    "https://h/x?token={}",
    "https://h/x?a=1&X-Amz-Signature={}",
    "s3://key:{}@bucket/x",
    "me:{}@db.example:5432",
    "password={}",
    "PGPASSWORD={} psql",
    "connect(password='{}')",
    '{{"api_key": "{}"}}',
    "api-key: {}",
    "AWS_SECRET_ACCESS_KEY={}",
    "aws_session_token = {}",
    "Authorization: Bearer {}",
    "'Authorization': 'Basic {}'",
    "the header Bearer {} was refused",
    "MY_SECRET={}",
    "hf_{}",
    "ghp_{}",
    "github_pat_{}",
    "sk-{}",
    "the token hf_{}, which is not known",
]
SHOWN = [
    "must be a password of letters",
    "look like secrets: .env, a.pem",
    "secret: none of these is read",
    "constraints.four.at_most: must be",
    "recipe.yaml:3: train.lr: must be > 0, but got -1",
    "sqlite:////home/me/m.db",
    "http://127.0.0.1:5000/#/experiments/1",
    "a@b.example",
    "mailto:bob@example.org",
    "hf_token is not set",
    "key=value",
    "tokens: 512",
    "bearer of news",
    "sk-learn",
    "RAY_AUTH_TOKEN_PATH=/x",
    "give RAY_AUTH_TOKEN, or none",
    "at 12:30@noon",
    "token authentication is on",
    "password: ***",
    "postgresql://me:***@db",
]


@pytest.mark.parametrize("form", HIDDEN)
def test_a_secret_is_hidden_in_every_form(form: str) -> None:
    shown = masked(f"before {form.format(SECRET)} after")
    assert SECRET not in shown and "***" in shown
    assert shown.startswith("before ") and shown.endswith(" after")


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_no_secret_is_shown_as_it_is(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("form", HIDDEN)
def test_what_is_masked_stays_as_it_is(form: str) -> None:
    once = masked(form.format(SECRET))
    assert masked(once) == once


def test_plain_data_keeps_its_form_and_hides_what_stands_at_a_key_named_like_a_secret() -> None:
    place = f"sftp://me:{SECRET}@host/run"
    plain = {"a": [place, 1.5, None, True], "data.args.password": SECRET, "note": "me@host", "secrets": 3}
    hidden = {"a": ["sftp://***@host/run", 1.5, None, True], "data.args.password": "***", "note": "me@host", "secrets": 3}
    assert masked_in(plain) == hidden
    assert json.loads(masked_json(json.dumps(plain, separators=(",", ":")))) == hidden
    assert masked_json(f"at {place}") == "at sftp://***@host/run" and masked_json("60") == "60"


def test_a_secret_that_is_longer_than_what_an_error_quotes_is_hidden_before_the_cut() -> None:
    """Cut in its middle, a login has no `@` that tells it."""
    secret, place = "f0" * 32, f"https://a:{'f0' * 32}@files.example/run"
    long = Diagnostic(("K" * 2000,), "must be there", f"{'x' * 350} {place} {'y' * 700}", "look")
    for text in (show(place), str(Diagnostic(("K",), "r", show(place), "m")), str(long), with_class(OSError(place * 4))):
        assert secret[:20] not in text
    assert show("a text") == "'a text'"
