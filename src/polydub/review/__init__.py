"""Every line of a dub in a person's hands: what they set, which takes there are, and the film made again with it.

Operations only write the edits file; `render` makes the film with them. Both may be done from several processes at once.
"""

from polydub.edits import Change, Conflict, Edits, LineEdit, Manner, SpeakerEdit, Version
from polydub.review.operations import (
    approve,
    edit,
    edit_many,
    lock,
    merge,
    redo,
    regen,
    speaker,
    split,
    time,
    undo,
    unlock,
    use,
    voice,
)
from polydub.review.reading import Reviewed, Row, State, listing, open_review, report, row, state
from polydub.review.rendering import Render, features, render
from polydub.review.takes import Exported, export_takes, takes

__all__ = [
    "Change",
    "Conflict",
    "Edits",
    "Exported",
    "LineEdit",
    "Manner",
    "Render",
    "Reviewed",
    "Row",
    "SpeakerEdit",
    "State",
    "Version",
    "approve",
    "edit",
    "edit_many",
    "export_takes",
    "features",
    "listing",
    "lock",
    "merge",
    "open_review",
    "redo",
    "regen",
    "render",
    "report",
    "row",
    "speaker",
    "split",
    "state",
    "takes",
    "time",
    "undo",
    "unlock",
    "use",
    "voice",
]
