"""What of an address may be shown: logins and options named like secrets are hidden. Light: every message is masked with it."""

from __future__ import annotations

import json
import re
from typing import Any

#: `scheme://` and what follows it: up to its last `@`, whatever stands before that, and on to a blank, a quote or a bracket.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://((?:\S*@|[^\s/@:]+:(?!\d+\b)[^\n@/]*\s[^\n@]*@)?[^\s'\"<>`]*)")
#: Options named like secrets; the key of a view saved in MLflow is the address of that view.
_SECRET = re.compile(
    r"([?&#;](?!viewStateShareKey=)[^=&#;?\s]*(?:pass|pwd|secret|token|key|sig|credential|auth)[^=&#;\s]*=)[^&#;\s'\"<>`]*",
    re.IGNORECASE,
)
#: Assignments and headers named like the secret that follows: `PGPASSWORD=…`, `"api_key": "…"`, `Authorization: Bearer …`.
_ASSIGNED = re.compile(
    r"((?<![?&#;])\b[\w.-]*(?:(?:password|passwd|passphrase|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key"
    r"|(?:auth|access|session)[_-]?token)['\"]?\s*[=:]|(?:secret|credentials?)['\"]?=)\s*['\"]?"
    r"|\bauthorization['\"]?\s*[=:]\s*['\"]?(?:basic|bearer|token)\s+|\bbearer\s+(?=[\w.~+/-]{12}))(?!\*{3})[^\s'\"<>`,;&]+",
    re.IGNORECASE,
)
#: Tokens that their beginnings give away: Hugging Face, GitHub, GitLab, Slack, OpenAI, AWS, Google.
_KNOWN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,}"
    r"|A(?:KIA|SIA)[A-Z0-9]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+)"
)
#: A login without a scheme: `user:password@host`.
_LOGIN = re.compile(r"(?<![\w/:.@-])(?!mailto:)([\w.+-]+):(?!\*{3})[^\s:@/'\"<>`]{3,}@(?=[A-Za-z0-9.-]+\b)")
#: Schemes whose user name is none of a person's secrets, as long as a password stands beside it.
_WITH_USERS = re.compile(r"(postgres|postgresql|mysql|mariadb|mssql|oracle|cockroachdb)(\+\w+)?\Z")
#: Hosts that no login looks like: of this machine, by number, or in brackets.
_PLAIN_HOST = re.compile(r"(localhost|[0-9]+(\.[0-9]+){3}|\[.*\])(:[0-9]*)?\Z")
_LAST_PORT = 65535


def ambiguous_login(url: str) -> bool:
    """Whether the name or password of a URL has a character that ends it: then it is another URL than was meant."""
    rest = url.partition("://")[2]
    login, at, _ = rest.rpartition("@")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return bool(at) and (authority.count("@") > 1 or (len(authority) < len(login) and _has_login(authority)))


def _has_login(authority: str) -> bool:
    """Whether what stands before the first `/` has a login, or a port that is none, as a password cut off by a `/` looks."""
    port = authority.rpartition(":")[2] if ":" in authority and not authority.endswith("]") else ""
    return "@" in authority or (bool(port) and not (port.isdecimal() and int(port[:9]) <= _LAST_PORT))


def _may_have_login(scheme: str, authority: str) -> bool:
    """Whether what stands before the first `/` of an address with an `@` may be the part of a login before a `/` in it.

    So look all hosts with a port, which may be a password of digits, and on the web words without a dot, which may be tokens.
    """
    if _has_login(authority) or not authority or _PLAIN_HOST.match(authority):
        return _has_login(authority)
    return ":" in authority or ("." not in authority and scheme in ("http", "https"))


def masked(text: str) -> str:
    """A text with its secrets hidden: logins (of databases the user's name stays), what is named like a secret (an option of a
    URI, an assignment, a header), and tokens that their beginnings give away.
    """
    named = _ASSIGNED.sub(r"\1***", _SECRET.sub(r"\1***", _URI.sub(_without_login, text)))
    return _KNOWN.sub("***", _LOGIN.sub(r"\1:***@", named))


def masked_in(value: Any) -> Any:
    """Plain data, as JSON and YAML have it, with the secrets of all its texts hidden, and texts at keys named like secrets."""
    if isinstance(value, dict):
        return {key: "***" if _is_assigned(key, each) else masked_in(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked_in(each) for each in value]
    return masked(value) if isinstance(value, str) else value


def masked_json(text: str) -> str:
    """A text with its secrets hidden, which stays JSON where it is."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return masked(text)
    hidden = masked_in(plain)
    return text if hidden == plain else json.dumps(hidden)


def _is_assigned(key: Any, value: Any) -> bool:
    return isinstance(value, str) and _ASSIGNED.match(f"{key}={value}") is not None


def without_login(uri: str) -> str:
    """A URI to be followed by somebody else: without name and password."""
    return _URI.sub(lambda found: _without_login(found, ""), uri)


def _without_login(matched: re.Match[str], mask: str = "***@") -> str:
    scheme, rest = matched.groups()
    login, at, host = rest.rpartition("@")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    known = _WITH_USERS.match(scheme.lower())
    if not at or not (_may_have_login(scheme.lower(), authority) or known):
        return matched.group()
    user, colon, _ = login.partition(":")
    shown = f"{user}:" if colon and mask and known else ""
    return f"{scheme}://{shown}{mask}{host}"
