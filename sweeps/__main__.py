"""`python -m sweeps`, the same as `dualsweep`: how a submitted job starts, where only the repository travels."""

from sweeps.entry import main

main()
