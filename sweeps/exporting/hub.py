"""An exported model on the Hugging Face Hub, by huggingface_hub and the user's own token: private, unless asked otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.wording import show

OPTION = "--push-to-hub"
#: Whose errors tell that there is no network, as huggingface_hub has asked by one or another of them.
_CLIENTS = ("httpx", "httpx2", "requests")
_REMEDIES = {
    401: "log in anew by `hf auth login`, or put a token that is valid into HF_TOKEN",
    403: "take a token that may write (huggingface.co/settings/tokens), or a name below your own user or organisation",
}


def check_can_push(name: str) -> None:
    """Asks the hub who the user is, before anything is written.

    Raises:
        InputError: `name` is none of a repository, there is no token or one that the hub does not know, or no hub to be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # it is exported, by __getattr__

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise _refused(
            "must be NAME or OWNER/NAME of a repository", show(name), "use letters, digits, -, _ and . alone"
        ) from None
    with _told(name, None):
        token = get_token()
        if token is None:
            remedy = "log in by `hf auth login`, or put a token that may write into HF_TOKEN"
            raise _refused("must go with a token of yours for the hub", "none", remedy)
        HfApi().whoami(token)


def push(folder: Path, name: str, *, public: bool) -> str:
    """Uploads the folder as a commit to the repository `name`, made where it is not there yet; returns its address.

    Raises:
        InputError: the hub refuses that or cannot be reached, or the repository that is there is public or private where the
            other was asked for.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _told(name, folder):
        repository = api.create_repo(name, private=not public, exist_ok=True)
        if bool(api.repo_info(repository.repo_id).private) == public:
            asked, there = ("public", "private") if public else ("private", "public")
            rule = f"must be a {asked} repository, or go {'without' if public else 'with'} --public"
            remedy = "drop --public, make it public in its settings" if public else "say --public"
            raise _refused(
                rule, f"{show(name)}, which is {there}", f"{remedy}, or name another one; {folder} is written all the same"
            )
        api.upload_folder(repo_id=repository.repo_id, folder_path=folder, commit_message="Exported by dualsweep")
    return str(repository)


@contextlib.contextmanager
def _told(name: str, written: Path | None) -> Iterator[None]:
    """Errors of the hub as mistakes of input; `written` is the folder that is there all the same."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    rule, received = "must go with a hub that takes the model", show(name)
    after = "" if written is None else f"; {written} is there all the same, for `hf upload {name} {written}`"
    try:
        yield
    except OfflineModeIsEnabled:
        raise _refused(rule, f"{received} with HF_HUB_OFFLINE set", f"unset it{after}") from None
    except HfHubHTTPError as error:
        status, said = error.response.status_code, error.server_message or str(error)
        remedy = _REMEDIES.get(status, "see what it says, or try again later")
        raise _refused(rule, f"{received}, of which it says {status}: {_short(said)}", f"{remedy}{after}") from None
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        remedy = "see whether huggingface.co, or what HF_ENDPOINT names, is reached from here"
        said = _short(f"{type(error).__name__}: {error}")
        raise _refused(rule, f"{received}, for which none is reached ({said})", f"{remedy}{after}") from None


def _short(text: str) -> str:
    return " ".join(text.split())[:200]


def _refused(rule: str, received: str, remedy: str) -> InputError:
    return InputError([Diagnostic((OPTION,), rule, received, remedy, "command line", 1)])
