"""Who of the speakers of a film is a known character, and what a film adds to what is known of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from polydub.audio import IMPORTING
from polydub.voices.book import Book, Character, Exemplar, Film, Mode, Reference, StockVoice, Voiceprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHORTEST_S = 3.0  # of speech; less is recognised by nobody
ENOUGH_S = 4.0  # of speech; less is not enrolled by itself
SAME_RECORDING = 0.9995  # cosine from which two voiceprints are of one recording: portraits have four decimals
EXEMPLARS, REFERENCES, FROM_ONE_FILM = 16, 6, 2  # that a character keeps at most
LIKELY, AHEAD = 0.75, 0.05  # threshold and margin for trained encoders that tell none of their own

Verdict = Literal["known", "unknown", "unclear", "taken", "short"]


class Portrait(Protocol):
    """As stages.match.Portrait: a voiceprint of unit length, () without sound, and the seconds it was made from."""

    @property
    def voiceprint(self) -> tuple[float, ...]:
        """From one encoder."""
        ...

    @property
    def seconds(self) -> float:
        """Of speech."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """From which cosine on a speaker is taken for a character, and how far ahead of the next one."""

    threshold: float = LIKELY
    margin: float = AHEAD


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one speaker. Attributes: character: the one, None unless `verdict` is "known". nearest: the likest
    character's name, "" in an empty book. likeness: cosine to it. reason: for people."""

    verdict: Verdict
    character: Character | None
    nearest: str
    likeness: float
    reason: str


def match(people: Mapping[str, Portrait], book: Book, encoder: str, limits: Limits) -> dict[str, Found]:
    """Who the speakers of one film are: the assignment of characters to speakers that is likest in all, each at most once.

    A speaker is a character whose cosine reaches the threshold, if every other character would be worse by the margin, the
    other speakers' best counted in. Order and names of the speakers do not matter. Speakers of less than SHORTEST_S are
    nobody. Who was heard in this very recording before is known whatever the limits.
    """
    lengths = {len(p.voiceprint) for p in people.values() if p.voiceprint}
    known = [c for c in sorted(book.characters, key=lambda c: c.id) if _comparable(c, encoder, lengths)]
    fit = [name for name, p in people.items() if p.voiceprint and p.seconds >= SHORTEST_S]
    names = sorted(fit, key=lambda name: people[name].voiceprint)
    short = Found("short", None, "", 0.0, "too little speech to recognise anybody by")
    found = dict.fromkeys(people, short)
    if not known or not names:
        return found | dict.fromkeys(names, Found("unknown", None, "", 0.0, "nobody is known yet"))
    cosines, values = _cosines([people[n].voiceprint for n in names], known, encoder)
    chosen = _assigned(values, limits.threshold)
    for row, name in enumerate(names):
        column = chosen[row]
        if column is None:
            best = int(cosines[row].argmax())
            found[name] = _nobody(known[best].name, round(float(cosines[row, best]), 3), limits)
            continue
        ahead, rival = _ahead(values, row, chosen, limits)
        likeness = round(float(cosines[row, column]), 3)
        if ahead < limits.margin:
            reason = f"sounds like {known[column].name} ({likeness:.2f}) and nearly as much like {known[rival].name}"
            found[name] = Found("unclear", None, known[column].name, likeness, reason)
        else:
            reason = f"the character {known[column].name}: likeness {likeness:.2f}"
            found[name] = Found("known", known[column], known[column].name, likeness, reason)
    return found


def _nobody(nearest: str, likeness: float, limits: Limits) -> Found:
    """A speaker whom no character was given to: unlike all of them, or like one that is another speaker of the film."""
    if likeness < limits.threshold:
        return Found("unknown", None, nearest, likeness, f"nobody known; the nearest is {nearest} ({likeness:.2f})")
    return Found("taken", None, nearest, likeness, f"sounds like {nearest} ({likeness:.2f}), who is another speaker here")


def _comparable(one: Character, encoder: str, lengths: set[int]) -> bool:
    """Whether its voiceprint is by this encoder; one of another length is not, whatever is said of it."""
    return encoder in one.voiceprints and {len(one.voiceprints[encoder].mean)} == lengths


def _cosines(
    people: Sequence[tuple[float, ...]], known: Sequence[Character], encoder: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosines (speakers, characters) to the means, and the same with 2 where an exemplar is of the very recording."""
    import numpy as np

    prints = [c.voiceprints[encoder] for c in known]
    rows = _unit(np.array(people, np.float64).reshape(len(people), -1))
    cosines = np.round(rows @ _unit(np.array([p.mean for p in prints], np.float64)).T, 6) if len(people) else np.zeros((0, 1))
    values = cosines.copy()
    for column, one in enumerate(prints):
        kept = _unit(np.array([e.numbers for e in one.exemplars], np.float64).reshape(len(one.exemplars), -1))
        if len(people) and len(kept):
            values[(rows @ kept.T).max(axis=1) >= SAME_RECORDING, column] = 2.0
    return cosines, values


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _assigned(values: NDArray[np.float64], threshold: float, forced: tuple[int, int] | None = None) -> list[int | None]:
    """The best column for each row, each column once; None = nobody, which is worth the threshold. `forced`: must be."""
    import numpy as np

    with IMPORTING:
        from scipy.optimize import linear_sum_assignment  # pyright: ignore[reportMissingTypeStubs]

    rows, columns = values.shape
    worth = np.where(values >= threshold, values, -10.0)
    nobody = np.full((rows, rows), -20.0)
    np.fill_diagonal(nobody, threshold)
    if forced:
        worth[forced] = 1e3
    _, chosen = linear_sum_assignment(np.hstack([worth, nobody]), maximize=True)
    return [int(c) if c < columns else None for c in chosen]


def _worth(values: NDArray[np.float64], chosen: Sequence[int | None], threshold: float) -> float:
    return sum(threshold if c is None else float(values[row, c]) for row, c in enumerate(chosen))


def _ahead(values: NDArray[np.float64], row: int, chosen: Sequence[int | None], limits: Limits) -> tuple[float, int]:
    """By how much all would be worse if `row` were the next best character, and which one that is."""
    total = _worth(values, chosen, limits.threshold)
    gaps = [(float("inf"), -1)]
    for column in range(values.shape[1]):
        if column != chosen[row]:
            other = _assigned(values, limits.threshold, (row, column))
            gaps.append((round(total - _worth(values, other, limits.threshold), 6), column))
    return min(gaps)


@dataclass(frozen=True)
class Sighting:
    """What one film, or a recording, tells of a character. Attributes: film: None = by hand. voices: as Character.voices."""

    encoder: str
    voiceprint: tuple[float, ...]
    film: Film | None = None
    references: tuple[Reference, ...] = ()
    voices: Mapping[str, StockVoice] = field(default_factory=dict[str, StockVoice])

    @property
    def key(self) -> str:
        """Of the film."""
        return self.film.key if self.film else ""


def newcomer(book: Book, name: str, mode: Mode, now: str) -> tuple[Book, Character]:
    """The book with a new character in it. Raises: ValueError for an improper name or one that is taken."""
    made = Character(id=f"c{book.next}", name=name, mode=mode, created=now, updated=now)
    if any(made.name.casefold() == other.casefold() for c in book.characters for other in (c.name, *c.aliases)):
        raise ValueError(f"{made.name} is in the book already")
    return book.model_copy(update={"next": book.next + 1, "characters": (*book.characters, made)}), made


def free_name(book: Book) -> str:
    """A name that nobody has yet, for a character that was enrolled without being asked: "Character 3"."""
    taken = {name.casefold() for c in book.characters for name in (c.name, *c.aliases)}
    number = book.next
    while f"character {number}" in taken:
        number += 1
    return f"Character {number}"


def learned(one: Character, seen: Sighting, now: str) -> Character:
    """What is known after a sighting. A film that was seen before replaces what it told; a locked character learns nothing."""
    if one.locked:
        return one
    prints = dict(one.voiceprints)
    if seen.voiceprint:
        prints[seen.encoder] = with_print(prints.get(seen.encoder), Exemplar(film=seen.key, numbers=seen.voiceprint))
    films = one.films
    if seen.film:
        known = seen.key in {f.key for f in one.films}
        films = tuple(seen.film if f.key == seen.key else f for f in films) if known else (*films, seen.film)
    changed = one.model_copy(
        update={
            "voiceprints": prints,
            "films": films,
            "references": best_references((*one.references, *seen.references)),
            "voices": {**seen.voices, **one.voices},
        }
    )
    return one if _same(changed, one) else changed.model_copy(update={"updated": now})


def _same(new: Character, old: Character) -> bool:
    """Whether nothing but the time at which a film was seen is different."""
    plain = {"films": tuple(f.model_copy(update={"seen": ""}) for f in new.films)}
    return new.model_copy(update=plain) == old.model_copy(
        update={"films": tuple(f.model_copy(update={"seen": ""}) for f in old.films)}
    )


def with_print(known: Voiceprint | None, seen: Exemplar) -> Voiceprint:
    """A voiceprint with one more exemplar, which takes the place of the film's earlier one; by hand there may be several."""
    if known is None:
        return Voiceprint(mean=seen.numbers, count=1, exemplars=(seen,))
    if any(e.numbers == seen.numbers and e.film == seen.film for e in known.exemplars):
        return known
    known = without_film(known, seen.film) if seen.film else known
    if known is None:
        return Voiceprint(mean=seen.numbers, count=1, exemplars=(seen,))
    mean = tuple(round((m * known.count + x) / (known.count + 1), 6) for m, x in zip(known.mean, seen.numbers, strict=True))
    kept = (*known.exemplars, seen)
    if len(kept) > EXEMPLARS:  # the oldest but for the first, which the others were matched to
        kept = (kept[0], *kept[2:])
    return Voiceprint(mean=mean, count=known.count + 1, exemplars=kept)


def without_film(known: Voiceprint, film: str) -> Voiceprint | None:
    """What is left without what a film told; None when that was all. A film whose exemplar was not kept stays in the mean."""
    gone = [e for e in known.exemplars if e.film == film]
    count = known.count - len(gone)
    if not gone or count < 1:
        return known if not gone else None
    left = [e for e in known.exemplars if e.film != film]
    sums = [m * known.count - sum(e.numbers[n] for e in gone) for n, m in enumerate(known.mean)]
    mean = tuple(round(s / count, 6) for s in sums) if count > 1 or not left else left[0].numbers
    return Voiceprint(mean=mean, count=count, exemplars=tuple(left))


def best_references(references: Sequence[Reference]) -> tuple[Reference, ...]:
    """Those that are kept, best first: by hand before by films, then the longer; few of one film, so that they differ."""
    each = {r.sha256: r for r in reversed(references)}.values()
    chosen: list[Reference] = []
    for one in sorted(each, key=lambda r: (r.film != "", -min(r.seconds, 15.0), r.sha256)):
        if not one.film or sum(r.film == one.film for r in chosen) < FROM_ONE_FILM:
            chosen.append(one)
    return tuple(chosen[:REFERENCES])
