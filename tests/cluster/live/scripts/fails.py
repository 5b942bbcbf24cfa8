"""A job that fails."""

import sys

print("about to fail")
sys.exit(7)
