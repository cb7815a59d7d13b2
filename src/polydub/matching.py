"""Voice matching: for each speaker of a film the voice of the speech engine that comes near, and all voices distinct.

It compares pitch, long-term spectrum and voiceprint of real takes, and changes only what the engine itself offers, with an
equaliser within narrow limits on top. That makes voices fit and differ; it imitates nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polydub.runner import Run
from polydub.stages import match, speak
from polydub.stages.match import Candidate, Match, Portrait, Sitting
from polydub.stages.recordings import hear, judge
from polydub.types import Artifact, Notice, Part, Voice

AT_ONCE = 12  # takes in one audition
SHORTLIST, REFINED = 8, 2  # voices tried with an equaliser, and of these with other settings

# What candidates say: the same in every film, so that what was heard once is remembered. About 4 s each.
SENTENCES = {
    "ar": "في الصباح الباكر خرج الأطفال إلى الحديقة، ولعبوا قرب النهر حتى غابت الشمس.",
    "cs": "Dnes ráno šly děti k řece, vzaly si chléb, sýr a džus a vrátily se až večer.",
    "de": "Heute Morgen gingen die Kinder früh zum Fluss, spielten im Schatten und kamen müde zurück.",
    "en": "This morning the children walked down to the river, played in the shade and came home late.",
    "es": "Esta mañana los niños bajaron al río, jugaron a la sombra y volvieron muy tarde a su casa.",
    "fr": "Ce matin les enfants sont descendus à la rivière, ont joué à l'ombre et sont rentrés tard.",
    "hi": "आज सुबह बच्चे नदी के किनारे गए, छाया में खेले और शाम को देर से घर लौटे।",
    "it": "Questa mattina i bambini sono scesi al fiume, hanno giocato all'ombra e sono tornati tardi.",
    "ja": "今朝子どもたちは川へ行き、木の下で遊んで、夕方遅く家に帰りました。",
    "ko": "오늘 아침 아이들은 강가로 가서 그늘에서 놀다가 저녁 늦게 집으로 돌아왔습니다.",
    "nl": "Vanmorgen gingen de kinderen naar de rivier, speelden in de schaduw en kwamen laat weer thuis.",
    "pl": "Dziś rano dzieci poszły nad rzekę, bawiły się w cieniu i wróciły do domu późnym wieczorem.",
    "pt": "Esta manhã as crianças desceram até o rio, brincaram na sombra e voltaram tarde para casa.",
    "ro": "Azi dimineață copiii au mers la râu, s-au jucat la umbră și s-au întors acasă târziu.",
    "ru": "Сегодня утром дети пошли к реке, играли в тени деревьев и поздно вернулись домой.",
    "sv": "I morse gick barnen ner till ån, lekte i skuggan och kom hem igen sent på kvällen.",
    "tr": "Bu sabah çocuklar nehre indiler, gölgede oynadılar ve akşam geç saatte eve döndüler.",
    "uk": "Сьогодні вранці діти пішли до річки, гралися в затінку дерев і пізно повернулися додому.",
    "zh": "今天早上孩子们去了河边，在树荫下玩耍，很晚才回到家里。",
}


def match_voices(
    run: Run, people: Mapping[str, Portrait], language: str, taken: Mapping[str, Voice] | None = None
) -> Mapping[str, Match]:
    """A voice for everyone in `people`, whose portraits are by the run's encoder; none sounds like another or like `taken`.

    The same portraits give the same voices. Raises: UnsupportedLanguage, and what engines raise.
    """
    if not people:
        return {}
    stock = _heard(run, run.step(match.stock, language), language)
    given = _heard(run, list((taken or {}).values()), language)
    scale = run.step(match.gauge, stock)
    others = {name: tuple(p for who, p in people.items() if who != name) for name in people}
    sure = [name for name, portrait in people.items() if not match.unsure(portrait)]

    first = run.map(match.rank, [Sitting(people[n], others[n], stock) for n in sure], scale, SHORTLIST)
    toned = _split(_heard(run, [v for voices in first for v in voices], language), first)
    second = run.map(match.rank, [Sitting(people[n], others[n], c) for n, c in zip(sure, toned, strict=True)], scale, REFINED)
    near = [_near(run, voices) for voices in second]
    fine = _split(_heard(run, [v for voices in near for v in voices], language), near)

    found = {name: (*a, *b, *stock) for name, a, b in zip(sure, toned, fine, strict=True)}
    sittings = tuple(Sitting(people[n], others[n], found.get(n, stock)) for n in people)
    return dict(zip(people, run.step(match.choose, sittings, given, scale), strict=True))


def match_recordings(
    run: Run, recordings: Mapping[str, tuple[Artifact, ...]], language: str, taken: Mapping[str, Voice] | None = None
) -> Mapping[str, Match]:
    """As `match_voices`, for people who are heard in recordings: mono FLAC, at least 16 kHz.

    Raises: StoreError for a recording that cannot be read, and what `match_voices` raises.
    """
    portraits = run.map(match.portray_recordings, list(recordings.values()))
    return match_voices(run, dict(zip(recordings, portraits, strict=True)), language, taken)


def judge_recordings(run: Run, recordings: Mapping[str, tuple[Artifact, ...]]) -> None:
    """Tells what is wrong with the recordings of people, by their name, where the engines for it were chosen."""
    if not {"vad", "embedding"} <= set(run.tools):
        return
    told_by = run.tools["embedding"].engine.info.name
    for name, some in recordings.items():
        for one in some:
            found = run.step(judge, one, run.step(hear, one), told_by)
            told = [finding.text for finding in found if finding.severity != "info"]
            run.note(*(Notice("recording-doubtful", f"the recording of {name}: {text}") for text in told))


def _heard(run: Run, voices: Sequence[Voice], language: str) -> tuple[Candidate, ...]:
    """What each voice sounds like when it says the sentence."""
    text = SENTENCES.get(language.partition("-")[0], SENTENCES["en"])
    takes = run.map(speak.synthesize, [Part(text, language, voice) for voice in voices])
    groups = [takes[at : at + AT_ONCE] for at in range(0, len(takes), AT_ONCE)]
    portraits = [portrait for several in run.map(match.audition, groups) for portrait in several]
    return tuple(Candidate(voice, portrait) for voice, portrait in zip(voices, portraits, strict=True))


def _near(run: Run, voices: Sequence[Voice]) -> list[Voice]:
    """Variations of all `voices`, each once."""
    found = [v for several in run.map(match.near, voices) for v in several]
    return [voice for n, voice in enumerate(found) if voice not in found[:n] and voice not in voices]


def _split(candidates: Sequence[Candidate], like: Sequence[Sequence[Voice]]) -> list[tuple[Candidate, ...]]:
    """`candidates` in groups as long as those of `like`."""
    ends = [sum(len(group) for group in like[: n + 1]) for n in range(len(like))]
    return [tuple(candidates[end - len(group) : end]) for end, group in zip(ends, like, strict=True)]
