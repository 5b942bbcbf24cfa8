"""Ray's token authentication: finding the token, so that users need not know that it exists.

Ray itself looks at the token only when RAY_AUTH_MODE=token, never sets that for an explicit address, reads it once at
`import ray`, and on a wrong or missing token retries silently for 20 s.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from dualsweep.cluster.errors import ClusterError

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"


@dataclass(frozen=True)
class Token:
    """A token and where it was found. Its secret stays out of `repr`, thus out of logs."""

    secret: str
    source: str

    def __repr__(self) -> str:
        return f"Token(source={self.source!r})"

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP header (and gRPC metadata) that carries it."""
        return {"authorization": f"Bearer {self.secret}"}


def find_token() -> Token | None:
    """Look where Ray looks, in its order: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.

    Raises:
        ClusterError: RAY_AUTH_TOKEN_PATH names a file that can't be read; Ray would fail on it as well.
    """
    if secret := os.environ.get(TOKEN, "").strip():
        return Token(secret, f"the environment variable {TOKEN}")
    if named := os.environ.get(TOKEN_PATH):
        try:
            return Token(Path(named).expanduser().read_text().strip(), f"{named} ({TOKEN_PATH})")
        except OSError as error:
            raise ClusterError(
                f"{TOKEN_PATH} must name a readable token file", f"{named}: {error.strerror}", f"correct or unset {TOKEN_PATH}"
            ) from error
    default = Path.home() / ".ray" / "auth_token"
    try:
        secret = default.read_text().strip()
    except OSError:
        return None
    return Token(secret, str(default)) if secret else None


def use_token_mode() -> None:
    """Make this process's Ray, and what it starts, use the token; a mode that the user has set stays.

    `import ray` has read the mode into its C++ settings by then or not: if it has, they are read again.
    """
    if MODE in os.environ:
        return
    os.environ[MODE] = "token"
    if "ray" in sys.modules:
        # No public call refreshes the settings; without this, Ray would go on sending no token.
        from ray._raylet import Config  # type: ignore[attr-defined]  # compiled; its stub leaves it out

        Config.initialize("")


def missing_token(where: str) -> ClusterError:
    """The cluster wants a token and there is none."""
    return ClusterError(
        f"{where} asks for an authentication token",
        f"none in {TOKEN}, {TOKEN_PATH} or ~/.ray/auth_token",
        f"copy the cluster's token (on its head: `ray get-auth-token`) to ~/.ray/auth_token, or set {TOKEN_PATH} to a file "
        f"holding it; Ray's own commands also need {MODE}=token",
    )


def refused_token(where: str, token: Token) -> ClusterError:
    """The cluster knows another token."""
    return ClusterError(
        f"{where} must accept the authentication token",
        f"a refusal of the one from {token.source}",
        f"replace it by the cluster's token (on its head: `ray get-auth-token`); Ray reads {TOKEN}, then {TOKEN_PATH}, then "
        f"~/.ray/auth_token, when {MODE}=token",
    )
