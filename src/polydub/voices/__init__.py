"""Voices that are kept: the library of recordings, how good they are, and characters across films.

voices.add("Anna", ["anna.wav"], consent="Anna Roth, by e-mail, 2026-03-01", language="de")
voices.open_library().find("anna").references
"""

from polydub.voices.api import About, add, check, import_from, open_book, open_library, remove, set_alias

__all__ = ["About", "add", "check", "import_from", "open_book", "open_library", "remove", "set_alias"]
