"""Pure functions on sound."""

from threading import RLock

# Held while a part of scipy is imported: its parts import each other, and of two threads that begin with different ones
# Python lets one see the other's half made.
IMPORTING = RLock()
