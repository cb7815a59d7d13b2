"""Voices that are kept: the library of recordings, how good they are, and characters across films.

voices.add("Anna", ["anna.wav"], consent="Anna Roth, by e-mail, 2026-03-01", language="de")
voices.open_library().find("anna").references
"""

from polydub.voices.api import (
    About,
    Otherwise,
    add,
    change,
    check,
    import_from,
    keep,
    open_book,
    open_library,
    remove,
    set_alias,
)

__all__ = [
    "About",
    "Otherwise",
    "add",
    "change",
    "check",
    "import_from",
    "keep",
    "open_book",
    "open_library",
    "remove",
    "set_alias",
]
