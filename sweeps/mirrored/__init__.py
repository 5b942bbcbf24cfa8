"""The driver's files of a run whose output is a URI: on this machine's disk, and as whole objects behind the URI.

Checkpoints and results are written there by the trainings themselves; no study, point or record is read or made here.
"""
