"""How much a mount keeps in memory: one bound for all its caches, and what each of them has of it."""

from collections.abc import Callable
from typing import Final

from guestmount_py.statistics import Figures, Statistics

SHARES: Final = {"listings": 0.5, "maps": 0.125, "segments": 0.25, "small": 0.125, "inodes": 0.0}
"""What each cache always may keep of the whole. What the kernel knows has none: it is kept, and the others give way."""


class Cache:
    """What one cache keeps, counted.

    Attributes:
        share_bytes: what it always may keep; more as long as the others leave it.
        used_bytes: about what it keeps.
        hits: how often something was here.
        misses: how often it had to be fetched.
    """

    def __init__(self, budget: "CacheBudget", share_bytes: int, drop: Callable[[], bool]) -> None:
        self.share_bytes: Final = share_bytes
        self.used_bytes = 0
        self.hits = 0
        self.misses = 0
        self.drop: Final = drop
        self._budget = budget
        self._count = 0

    def add(self, size_bytes: int) -> None:
        """Count one thing more, and make room for it: here, or in a cache that has more than its share."""
        self._count += 1
        self.used_bytes += size_bytes
        self._budget.make_room()

    def remove(self, size_bytes: int) -> None:
        """Count one thing less."""
        self._count -= 1
        self.used_bytes -= size_bytes

    def set(self, count: int, size_bytes: int) -> None:
        """Say how many things there are and what they take in all, and make room for more of it."""
        more = size_bytes > self.used_bytes
        self._count, self.used_bytes = count, size_bytes
        if more:
            self._budget.make_room()

    def figures(self) -> Figures:
        """Return what statistics tell of it."""
        asked = self.hits + self.misses
        return {
            "entries": self._count,
            "bytes": self.used_bytes,
            "hits": self.hits,
            "misses": self.misses,
            "hit_ratio": round(self.hits / asked, 4) if asked else 0.0,
        }


class CacheBudget:
    """The bound of all caches of a mount together.

    A cache that needs room takes what is free; if nothing is, the one that is furthest above its share gives something
    up.

    Args:
        capacity_bytes: the bound.
        statistics: are told of every cache.
    """

    def __init__(self, capacity_bytes: int, statistics: Statistics) -> None:
        self._capacity_bytes: Final = capacity_bytes
        self._statistics = statistics
        self._caches: list[Cache] = []

    def open_cache(self, name: str, drop: Callable[[], bool]) -> Cache:
        """Return a new cache's account.

        Args:
            name: in ``SHARES`` and in statistics.
            drop: gives up what was not wanted for longest and tells ``remove``; False if it must keep all it has.
        """
        cache = Cache(self, int(self._capacity_bytes * SHARES[name]), drop)
        self._caches.append(cache)
        self._statistics.add_cache(name, cache.figures)
        return cache

    def make_room(self) -> None:
        """Have caches give up until the bound is kept, or none has anything to give."""
        while sum(cache.used_bytes for cache in self._caches) > self._capacity_bytes:
            by_excess = sorted(self._caches, key=lambda cache: cache.share_bytes - cache.used_bytes)
            if not any(cache.drop() for cache in by_excess):
                return
