"""What an exact server must say: a plain model of /stats. The sum of all values is exact,
and rounded once; the average is that exact sum, divided by their number, and rounded once."""

import sys
from fractions import Fraction


def nearest_double(exact):
    """The exact number, rounded once; beyond the largest double: that one, with its sign."""
    try:
        value = float(exact)
    except OverflowError:
        value = float("inf") if exact > 0 else float("-inf")
    if value in (float("inf"), float("-inf")):
        return sys.float_info.max if value > 0 else -sys.float_info.max
    return value + 0.0  # no negative zero


class Model:
    def __init__(self):
        self.total = 0
        self.users = set()
        self.sum = Fraction(0)

    def add(self, user, value):
        self.total += 1
        self.users.add(user)
        self.sum += Fraction(value)

    def text(self):
        average = nearest_double(self.sum / self.total) if self.total else 0.0
        return (f'{{"totalRequests":{self.total},"uniqueUsers":{len(self.users)},'
                f'"sum":{nearest_double(self.sum)!r},"avg":{average!r}}}')
