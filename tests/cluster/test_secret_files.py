"""Nothing that looks like a secret, and nothing from outside the repository, is carried unasked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from dualsweep.cluster.cargo import LINKS, SECRETS, collect
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.jobs import submit
from dualsweep.cluster.preflight import failures, preflight
from dualsweep.sweeps.output import Screen
from dualsweep.sweeps.submitting import show_cargo
from tests.cluster.test_cargo import fill, git, root

__all__ = ["root"]  # the fixture: with git, and without

SECRET = [
    ".env", ".env.local", "prod.env", ".ENV", "sub/.env", "a.pem", "A.PEM", "id_rsa", ".ssh/id_ed25519", ".ssh/config",
    ".aws/credentials", ".aws/config", ".netrc", "_netrc", ".pgpass", ".pypirc", ".npmrc", ".git-credentials", "x/server.key",
    "store.p12", "store.jks", ".kube/config", "kubeconfig", ".docker/config.json", "my-service-account.json",
    "secrets.yaml", ".streamlit/secrets.toml", "kaggle.json", ".ray/auth_token", "prod.tfvars", "terraform.tfstate", ".envrc",
    "application_default_credentials.json", ".config/gcloud/a.db", ".databrickscfg", ".huggingface/token", "deploy_rsa",
    "client_secret_1.json", ".env~", ".env-prod", ".cache/huggingface/token", "token", "token.json", "rootkey.csv",
    "me_accessKeys.csv",
    ".config/gh/hosts.yml",
]  # fmt: skip
PLAIN = ["sweep.yaml", "README.md", "environment.yaml", "env.py", "tokens.py", "id_rsa.pub", ".env.example", "secrets.py",
         "keys.md", "data/identity.csv", "src/credentials.py", "monkey.txt", "idea.txt",
         "ansible/hosts.yml", "tokenizer.json", "token_ids.json"]  # fmt: skip
KEYS = ["\ufeff-----BEGIN RSA PRIVATE KEY-----\nx",
        "-----BEGIN RSA PRIVATE KEY-----\nx", "-----BEGIN OPENSSH PRIVATE KEY-----\nx", "\n-----BEGIN PRIVATE KEY-----",
        "PuTTY-User-Key-File-3: x",
        f"-----BEGIN CERTIFICATE-----\n{'MII' * 3000}\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nx",
        "Bag Attributes\r\n    friendlyName: x\r\n-----BEGIN ENCRYPTED PRIVATE KEY-----\r\nx",
        "# mine\n  -----BEGIN EC PRIVATE KEY-----",
        '{"name": "x",\n "keys": {"a": 1},\n "private_key": "x"}',
        '{"type": "service_account",\n "private_key": "x"}']  # fmt: skip


def refused(root: Path) -> str:
    with pytest.raises(ClusterError, match="must hold neither secrets nor what lies elsewhere") as caught:
        collect(root)
    return str(caught.value)


@pytest.mark.parametrize("name", SECRET)
def test_a_secret_is_refused_by_name_and_taken_when_asked(root: Path, name: str) -> None:
    fill(root, {"main.py": "", name: "x"})
    assert f"files that look like secrets: {name}; name them in .gitignore or .rayignore, or say {SECRETS} to" in refused(root)
    assert collect(root, [SECRETS]).carries(name)
    (root / ".rayignore").write_text(name)
    assert not collect(root).carries(name)


@pytest.mark.parametrize("content", KEYS)
def test_a_private_key_is_refused_whatever_its_name(root: Path, content: str) -> None:
    fill(root, {"main.py": "", "notes.txt": content})
    assert "notes.txt" in refused(root)


def test_what_is_no_secret_travels(root: Path) -> None:
    fill(root, dict.fromkeys(PLAIN, "KEY = 'BEGIN PRIVATE KEY'\n"))
    assert {name for name, _ in collect(root).files} == set(PLAIN)


@pytest.mark.parametrize("depth", ["", "below/"])
def test_links_that_lead_out_are_refused(root: Path, tmp_path_factory: pytest.TempPathFactory, depth: str) -> None:
    outside = tmp_path_factory.mktemp("outside") / "plain.txt"
    outside.write_text("x")
    fill(root, {"main.py": "", f"{depth}a.txt": ""})
    (root / f"{depth}link").symlink_to(outside)
    message = refused(root)
    assert f"lead out of the working directory: {depth}link;" in message and LINKS in message and SECRETS not in message
    assert collect(root, [LINKS]).carries(f"{depth}link")


def test_a_link_is_no_other_name_of_a_secret(root: Path) -> None:
    fill(root, {"main.py": "", ".env": "x", ".gitignore": ".env\n", "venv/config": "x"})
    (root / "settings").symlink_to(".env")
    (root / "mine").symlink_to("venv/config")
    message = refused(root)
    assert "look like secrets: settings" in message and "working directory: mine" in message


def test_a_tracked_secret_is_refused_too_and_by_every_way(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    fill(tmp_path, {"sweep.yaml": "", ".env": "x"})
    git(tmp_path, "add", "-f", ".env")
    where: dict[str, Any] = {"working_dir": tmp_path, "address": "127.0.0.1:1"}
    with pytest.raises(ClusterError, match=r"look like secrets: \.env"):
        submit(tmp_path / "sweep.yaml", **where, entrypoint_args=["true"])
    assert [each.name for each in failures(preflight(tmp_path / "sweep.yaml", **where))] == ["files", "job server"]
    assert [each.name for each in failures(preflight(tmp_path / "sweep.yaml", **where, allowed=[SECRETS]))] == ["job server"]


def test_a_dry_run_prints_what_would_travel_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    fill(tmp_path, {"sweep.yaml": "x" * 10, "big.txt": "x" * 2000, "small.txt": "x"})
    output = io.StringIO()
    monkeypatch.setattr("sys.stdout", output)
    show_cargo(tmp_path / "sweep.yaml", [], Screen())
    lines = [line.split() for line in output.getvalue().splitlines()]
    assert lines[:3] == [["2,000", "big.txt"], ["10", "sweep.yaml"], ["1", "small.txt"]] and lines[3][:5] == [
        "2,011",
        "bytes",
        "in",
        "3",
        "files",
    ]
    (tmp_path / ".env").touch()
    with pytest.raises(ClusterError, match=r"look like secrets: \.env"):
        show_cargo(tmp_path / "sweep.yaml", [], Screen())
