"""The one error of this room."""


class ClusterError(Exception):
    """Something about where a run is to take place is wrong; it can be told before, or instead of, running.

    `rule` says what must hold, `received` what was found, `way_out` what to do about it.
    """

    def __init__(self, rule: str, received: str, way_out: str) -> None:
        self.rule = rule
        self.received = received
        self.way_out = way_out
        super().__init__(f"{rule}, but got {received}; {way_out}")
