"""Runs `live/`, the tests with a real Ray, in a network namespace of their own when we aren't in one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import namespace

if not namespace.inside():

    @pytest.mark.ray
    @pytest.mark.slow
    def test_the_live_tests_pass_in_a_namespace() -> None:
        if reason := namespace.why_not():
            pytest.skip(reason)
        live = Path(__file__).parent / "live"
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=8", str(live)]
        done = subprocess.run([*namespace.command(), *tests], capture_output=True, text=True, check=False, timeout=300)
        print(done.stdout[-20_000:])
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
