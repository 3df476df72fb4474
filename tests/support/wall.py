"""A wall clock that a test sets, for programs that wall.c is preloaded into."""
import os
import struct
import unittest

from programs import BUILD

LIBRARY = f"{BUILD}/tests/wall.so"
wall_needed = unittest.skipUnless(os.path.exists(LIBRARY) and "SANITIZER" not in os.environ, "the clock cannot be set here")


class Wall:
    """Right at first."""

    def __init__(self, directory):
        self.path = f"{directory}/ahead"
        self.environment = {"LD_PRELOAD": LIBRARY, "WALL_AHEAD": self.path}
        with open(self.path, "wb") as file:
            file.write(struct.pack("q", 0))

    def set_ahead(self, ms):
        with open(self.path, "r+b") as file:
            file.write(struct.pack("q", ms))
