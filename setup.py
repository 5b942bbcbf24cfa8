"""Maps the four rooms, which lie at the top of a checkout, into the package `dualsweep`; all else is in pyproject.toml."""

from setuptools import find_packages, setup

ROOMS = ("trainer", "sweeps", "cluster", "analysis")

setup(
    packages=["dualsweep", *(f"dualsweep.{name}" for name in find_packages(include=[f"{room}*" for room in ROOMS]))],
    package_dir={f"dualsweep.{room}": room for room in ROOMS},
)
