"""A job that takes longer to tidy up after SIGTERM than the 3 s which Ray grants by itself."""

import signal
import sys
import time
from types import FrameType


def tidy(number: int, frame: FrameType | None) -> None:
    print("TIDYING", flush=True)
    time.sleep(4)
    print("TIDIED", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, tidy)
print("READY", flush=True)
time.sleep(600)
