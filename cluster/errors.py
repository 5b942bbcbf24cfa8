"""The one error of this room."""


class ClusterError(Exception):
    """Something about where a run is to take place is wrong; it can be told before, or instead of, running.

    `rule` says what must hold, `received` what was found, `remedy` what to do about it.
    """

    def __init__(self, rule: str, received: str, remedy: str) -> None:
        self.rule = rule
        self.received = received
        self.remedy = remedy
        super().__init__(rule, received, remedy)  # all of them: so it crosses process borders whole

    def __str__(self) -> str:
        return f"{self.rule}, but got {self.received}; {self.remedy}"
