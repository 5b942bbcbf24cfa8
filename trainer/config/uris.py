"""Addresses as users write them: which are of this machine, what they name there, and what of them may be shown.

The one place that reads `~`, `file:` and SQLite's URLs, and that hides secrets. Light: input is checked with it.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

#: `scheme://` and what follows it: up to its last `@`, whatever stands before that, and on to a blank, a quote or a bracket.
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://((?:\S*@|[^\s/@:]+:(?!\d+\b)[^\n@/]*\s[^\n@]*@)?[^\s'\"<>`]*)")
#: Options named like secrets; the key of a view saved in MLflow is the address of that view.
_SECRET = re.compile(
    r"([?&#;](?!viewStateShareKey=)[^=&#;?\s]*(?:pass|pwd|secret|token|key|sig|credential|auth)[^=&#;\s]*=)[^&#;\s'\"<>`]*",
    re.IGNORECASE,
)
#: Schemes whose user name is none of a person's secrets, as long as a password stands beside it.
_WITH_USERS = re.compile(r"(postgres|postgresql|mysql|mariadb|mssql|oracle|cockroachdb)(\+\w+)?\Z")
#: Hosts that no login looks like: of this machine, by number, or in brackets.
_PLAIN_HOST = re.compile(r"(localhost|[0-9]+(\.[0-9]+){3}|\[.*\])(:[0-9]*)?\Z")
_LAST_PORT = 65535
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?):///")
_PLAIN, _WITH_DRIVER = "sqlite:///", "sqlite+pysqlite:///"
MEMORY = ":memory:"


class BadPlaceError(ValueError):
    """A place that cannot be meant: the `rule` it breaks, what was `received`, and the `remedy`."""

    def __init__(self, rule: str, place: str, remedy: str) -> None:
        self.rule, self.received, self.remedy = rule, repr(masked(place)), remedy
        super().__init__(f"{rule}, but got {self.received}; {remedy}")


def is_local(place: str) -> bool:
    """Whether a place is on this machine: a path, or a `file:` URI."""
    return "://" not in place or place.lower().startswith("file:")


def local_path(place: str) -> Path:
    """The absolute path of a local place: `~` and `~user` are home folders, and `file:` URIs are decoded.

    Raises:
        BadPlaceError: there is no such user, or the URI names another machine.
    """
    path = _decoded(place) if place.lower().startswith("file:") else place
    try:
        return (Path(path).expanduser() if path.startswith("~") else Path(path)).absolute()
    except RuntimeError:
        remedy = f"fix it, or write ./{path} for a folder of that name"
        raise BadPlaceError("must be in the home folder of a user of this machine", place, remedy) from None


def _decoded(uri: str) -> str:
    rest = uri[len("file:") :]
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "/", rest.lstrip("/"))
    if host not in ("", "localhost") or not slash:
        raise BadPlaceError("must be a file: URI of this machine", uri, "write file:///path, or the path alone")
    return unquote(path if path.startswith("~") else f"/{path}")


def sqlite_file(url: str) -> Path | None:
    """The absolute path of the file of an SQLite URL; None of any other URL and of a database in memory.

    As SQLAlchemy reads it: `%3F` is a `?`. After `file:` SQLite decodes the path once more, and takes what follows a `?` for
    options.
    """
    found = _SQLITE.match(url)
    if found is None:
        return None
    path, _, query = url[found.end() :].partition("?")
    path = unquote(path)
    if path.startswith("file:"):
        path, _, more = path.removeprefix("file:").partition("?")
        path, query = unquote(path), f"{query}&{more}"
    if path in ("", MEMORY) or "mode=memory" in query:
        return None
    return local_path(path[1:] if path.startswith("/~") else path)


def sqlite_url(url: str) -> str:
    """An SQLite URL with its path made absolute; any other as it is. Options of SQLite's own, after `file:`, stay."""
    file, found = sqlite_file(url), _SQLITE.match(url)
    if file is None or found is None:
        return url
    path, _, query = url[found.end() :].partition("?")
    options = "" if query in ("", "uri=true") else f"?{query}"
    if options and unquote(path).startswith("file:"):
        return f"{_WITH_DRIVER}file:{quote(quote(str(file)))}{options}"
    return of_file(file, found.group()) + options


def of_file(file: Path, prefix: str = _PLAIN) -> str:
    """The SQLite URL of a file.

    One with characters that are special in a URL gets the driver's name as well: of `sqlite:///` MLflow takes the path as it is
    written, and makes its folder.
    """
    path = str(file).replace("%", "%25").replace("?", "%3F")
    return f"{_WITH_DRIVER if path != str(file) and prefix == _PLAIN else prefix}{path}"


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
    """A text with the secrets of every URI in it hidden: logins (of databases the user's name stays) and options that are named
    like secrets.
    """
    return _SECRET.sub(r"\1***", _URI.sub(_without_login, text))


def without_login(uri: str) -> str:
    """A URI to be followed by somebody else: without name and password."""
    return _URI.sub(lambda found: _without_login(found, ""), uri)


def _without_login(found: re.Match[str], mask: str = "***@") -> str:
    scheme, rest = found.groups()
    login, at, host = rest.rpartition("@")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    known = _WITH_USERS.match(scheme.lower())
    if not at or not (_may_have_login(scheme.lower(), authority) or known):
        return found.group()
    user, colon, _ = login.partition(":")
    shown = f"{user}:" if colon and mask and known else ""
    return f"{scheme}://{shown}{mask}{host}"
