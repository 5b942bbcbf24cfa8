"""`python -m dualsweep`, the same as `dualsweep`: how a submitted job starts, where only the repository travels."""

from dualsweep.sweeps.entry import main

main()
