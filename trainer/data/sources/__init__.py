"""The sources of data, one file each, found by `dualsweep.trainer.data.registry`: what is known of them, and how they are loaded.

Imports nothing heavy before data are loaded; what several share, and how images are read, is in `data/`.
"""

from __future__ import annotations

from dualsweep.trainer.config.plug_ins import words

NAMES = words(__path__, ("packaged", "folder", "dataset", "call"))
