"""Files behind a URI whose store may be away for a while: each call is tried again, and one error says so at last."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import with_class

#: What trying again does not mend: of files and names, of rights, of what a file system can't do, of what is not installed.
_LASTING = (
    FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError, NotImplementedError, ValueError,
    TypeError, LookupError, AttributeError, ImportError, RecursionError,
)  # fmt: skip
#: And what the stores' own libraries call a login or a request that is wrong in itself.
_LASTING_WORDS = ("Credential", "Validation", "Token", "Profile", "Unauthorized", "Forbidden", "ClientResponse")
#: The calls that go to the store.
_CALLS = ("cat_file", "exists", "info", "isdir", "isfile", "ls", "makedirs", "mv", "pipe_file", "rm", "rm_file")
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0
_log = logging.getLogger(__name__)
_patience = 0.0


class StoreAwayError(OSError):
    """A store did not answer for as long as this process waits for one."""


def wait_for_stores(seconds: float) -> None:
    """From now on this process tries again, for so long, what a store does not answer."""
    global _patience  # how long a process may wait is one thing for all that it does
    _patience = seconds


def patience() -> float:
    """The seconds of `wait_for_stores`."""
    return _patience


class PatientFiles:
    """An fsspec file system whose calls are tried again while its store does not answer."""

    def __init__(self, files: Any) -> None:
        self._files = files
        #: Whether a call waits for the store at this moment.
        self.away = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._files, name)
        return functools.partial(self._patiently, found) if name in _CALLS else found

    def _patiently(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        until, pause = time.monotonic() + patience(), _FIRST_PAUSE
        while True:
            try:
                answer = call(*args, **kwargs)
                self.away = False
                return answer
            except Exception as error:  # every store's library has errors of its own
                if not is_outage(error):
                    raise
                why = masked(with_class(error))
                self.away = time.monotonic() + pause <= until
                if not self.away:
                    raise StoreAwayError(f"the store does not answer ({why})") from None
                if pause == _FIRST_PAUSE:
                    _log.warning("the store does not answer (%s); it is tried again for %.0f s", why, patience())
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def is_outage(error: Exception) -> bool:
    """Whether an error of a file system may be gone by itself."""
    lasting = any(word in type(error).__name__ for word in _LASTING_WORDS)
    return not lasting and not isinstance(error, _LASTING)
