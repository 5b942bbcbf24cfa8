"""The filter drops Ray's false alarm and nothing else."""

import sys

from dualsweep.cluster.quiet import without_false_alarms


def test_only_the_false_alarm_is_dropped(capsys):
    with without_false_alarms():
        print("before")
        print("(raylet) WARNING: 8 PYTHON worker processes have been started on node: 1, which is 4x the maximum")
        print()
        print("after")
        assert sys.stdout.isatty() is False
    print("outside: worker processes have been started on node")
    assert capsys.readouterr().out == "before\n\nafter\noutside: worker processes have been started on node\n"
