"""Every line of a dub in a person's hands: what they set, which takes there are, and the film made again with it.

Operations only write the edits file; `render` makes the film with them. Both may be done from several processes at once.

    dub = review.find("talk", output="Output")
    review.edit(dub, "3", {"text": "Otro texto."})
    review.render(dub)
"""

from polydub.edits import Change, Conflict, Edits, LineEdit, Manner, SpeakerEdit, Version
from polydub.review.api import find, render, sound
from polydub.review.comparing import Changed, changes
from polydub.review.exporting import export_lines
from polydub.review.importing import Difference, Import, import_lines
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
from polydub.review.rendering import features
from polydub.review.takes import Exported, export_takes, takes

__all__ = [
    "Change",
    "Changed",
    "Conflict",
    "Difference",
    "Edits",
    "Exported",
    "Import",
    "LineEdit",
    "Manner",
    "Reviewed",
    "Row",
    "SpeakerEdit",
    "State",
    "Version",
    "approve",
    "changes",
    "edit",
    "edit_many",
    "export_lines",
    "export_takes",
    "features",
    "find",
    "import_lines",
    "listing",
    "lock",
    "merge",
    "open_review",
    "redo",
    "regen",
    "render",
    "report",
    "row",
    "sound",
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
