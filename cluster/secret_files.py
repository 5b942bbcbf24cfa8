"""Files that hold secrets, told by their names and by how a private key begins: none of them travels unasked."""

import re
from collections.abc import Iterable
from pathlib import Path

from pathspec import GitIgnoreSpec

#: In the syntax of `.gitignore`, without regard to case. Examples and public halves, which people commit, are left out.
_NAMES = """
.env
.env.*
*.env
.env-*
.env~
.env.*~
.envrc
*.pem
*.key
*.p8
*.p12
*.pfx
*.jks
*.keystore
*.ppk
*.kdbx
*.ovpn
id_*
*_rsa
*_dsa
*_ecdsa
*_ed25519
.ssh/
.gnupg/
.aws/
.azure/
.gcloud/
gcloud/
.kube/
.oci/
.ray/
.docker/
.huggingface/
.netrc
_netrc
.pgpass
.my.cnf
.mylogin.cnf
.pypirc
.npmrc
.yarnrc
.gem/credentials
.cargo/credentials*
.git-credentials
.dockercfg
.dockerconfigjson
.databrickscfg
.htpasswd
.vault-token
.vault_pass*
.boto
.s3cfg
.passwd-s3fs
.terraformrc
*.tfvars
*.tfstate
*.tfstate.backup
rclone.conf
kubeconfig
*.kubeconfig
kaggle.json
credentials
credentials.*
*credentials*.json
client_secret*
*service[-_]account*.json
auth_token
*.token
token
token.json
token.txt
tokens.json
rootkey*.csv
*accesskeys*.csv
**/gh/hosts.yml
secret
secrets
secret.*
secrets.*
!*.pub
!*.py
!*.md
!*.rst
!*.example
!*.sample
!*.template
!*.dist
"""
_SPEC = GitIgnoreSpec.from_lines(_NAMES.lower().split())
#: At the start of a line, as certificates, attributes and remarks may stand before a key; after the mark that editors of Windows
#: begin text with.
_KEY = re.compile(
    rb"(?:\A|[\r\n])(?:\xef\xbb\xbf)?[ \t]*"
    rb"(?:-----BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File|-----BEGIN PGP PRIVATE|\"private_key\"\s*:)"
    rb"|\A(?:\xef\xbb\xbf)?\s*\{[^}]{0,2000}\"private_key\"\s*:"
)
#: Bytes of a file that are looked through.
_BEGINNING = 65_536


def secret_files(root: Path, names: Iterable[str]) -> list[str]:
    """Those of `names` below `root` that look like secrets, by their own name, that of what a link leads to, or a key in them."""
    return [name for name in names if _named(root, name) or _holds_key(root / name)]


def resolved(path: Path) -> Path | None:
    """Where a path leads; None where links lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # the latter up to Python 3.12
        return None


def _named(root: Path, name: str) -> bool:
    target = resolved(root / name)
    if target is None:
        return False
    below = target.relative_to(root).as_posix() if target.is_relative_to(root) else target.as_posix().lstrip("/")
    return any(bool(_SPEC.check_file(each.lower()).include) for each in {name, below})


def _holds_key(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _KEY.search(file.read(_BEGINNING)) is not None
    except OSError:
        return False
