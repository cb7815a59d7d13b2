"""Dialogue by an ensemble of nets in the manner of MVSEP-MDX23 (Solovyev et al. 2023), or by one of them.

Of the package audio-separator only the nets are used (MDX, MDX23C, BS- and MelBand-RoFormer): its way through files scales
every stem to a peak of 0.9, ends the process when a model cannot be loaded, and runs on where weights do not fit. Nets of
Demucs come from the package demucs, in the same process: audio-separator's own copy of it is never imported.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from pydantic import Field, field_validator

from polydub.engines.base import READY, Availability, Engine, Info, Weight, Weights
from polydub.engines.separation import demucs
from polydub.engines.separation.mdx_nets import FOLDER, ckpt_net, mdx_net
from polydub.engines.separation.net_weights import HOMES, SIGNATURES
from polydub.engines.separation.nets import VOCALS, Member, NetOptions, NetSeparator, Polarity, set_threads
from polydub.errors import MissingWeights

MODELS: Mapping[str, tuple[str, ...]] = {
    # The weights, the inverted run and the mean of both polarities are those of the contest's winner, vocals only
    "mdx23": ("mdx:Kim_Vocal_2.onnx=12", "mdx-inverted:Kim_Inst.onnx=8", "demucs-both:04573f0d=3"),
    "kim-vocal-2": ("mdx:Kim_Vocal_2.onnx",),
    "kim-melband": ("roformer:MelBandRoformer.ckpt",),
}
MEMBER = re.compile(r"(mdx|mdx23c|roformer|demucs)(?:-(inverted|both))?:([^=+/\\]+)(?:=(\d+(?:\.\d+)?))?")
SYNTAX = "write KIND[-inverted|-both]:FILE[=WEIGHT], KIND one of mdx, mdx23c, roformer, demucs"


class Mdx23Options(NetOptions):
    """Options of ensembles."""

    model: str = Field("mdx23", min_length=1, description=f"one of {', '.join(MODELS)}, or the path of a folder")
    members: tuple[str, ...] = Field(
        (),
        description="nets of an ensemble of one's own, such as mdx:Kim_Vocal_2.onnx=12+demucs-both:04573f0d=3: kind, -inverted "
        "(hears the sound upside down) or -both (mean of both), file, weight; files lie in the folder `model`, unless known",
    )

    @field_validator("members", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        """As text the members are joined by "+"."""
        return tuple(part.strip() for part in given.split("+") if part.strip()) if isinstance(given, str) else given

    @field_validator("members")
    @classmethod
    def _readable(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """Raises: ValueError."""
        for text in given:
            if not MEMBER.fullmatch(text):
                raise ValueError(f"{text!r} is no member; {SYNTAX}")
        if given and not any(_asked(text).weight for text in given):
            raise ValueError("no member has a weight above 0")
        return given


@dataclass(frozen=True, slots=True)
class Asked:
    """A member as it was asked for; `file` may be the first half of the name of a net of Demucs."""

    kind: str
    polarity: Polarity
    file: str
    weight: float


def _asked(text: str) -> Asked:
    kind, polarity, file, weight = MEMBER.fullmatch(text).groups()  # pyright: ignore[reportOptionalMemberAccess]
    name = SIGNATURES.get(file, file) if kind == "demucs" else file
    return Asked(kind, cast("Polarity", polarity or "plain"), name, 1.0 if weight is None else float(weight))


def asked(options: Mdx23Options) -> tuple[Asked, ...]:
    """The members that count; of a folder for which none were named, all that lie there, alike."""
    texts = options.members or MODELS.get(options.model, ())
    if texts:
        return tuple(one for one in map(_asked, texts) if one.weight)
    folder = Path(options.model).expanduser()
    if not folder.is_dir():
        return ()
    nets = [Asked("mdx", "plain", file.name, 1.0) for file in sorted(folder.glob("*.onnx"))]
    nets += [Asked("", "plain", file.name, 1.0) for file in sorted(folder.glob("*.ckpt"))]
    return (*nets, *(Asked("demucs", "plain", file.name, 1.0) for file in demucs.files(folder)))


def _own_folder(options: Mdx23Options) -> Path | None:
    return None if options.model in MODELS else Path(options.model).expanduser()


def _path(one: Asked, options: Mdx23Options, weights: Weights) -> Path:
    """Where a member lies. Raises: MissingWeights."""
    own = _own_folder(options)
    if own and (file := _in_folder(own, one)):
        return file
    home = HOMES.get(one.file)
    if home is None or home.id not in weights:
        raise MissingWeights(f"the net {one.file} is not here", f"polydub models pull {home.id}" if home else FOLDER)
    return weights[home.id] / one.file


def _in_folder(folder: Path, one: Asked) -> Path | None:
    if (folder / one.file).is_file():
        return folder / one.file
    return next((file for file in demucs.files(folder) if one.kind == "demucs" and file.name.startswith(f"{one.file}-")), None)


def _needed(options: Mdx23Options) -> tuple[Weight, ...]:
    """The weights of known members that do not lie in a folder of one's own."""
    own = _own_folder(options)
    homes = [HOMES.get(one.file) for one in asked(options) if not (own and _in_folder(own, one))]
    return tuple({home.id: home for home in homes if home}.values())


def _member(one: Asked, options: Mdx23Options, weights: Weights, device: str) -> Member:
    torch = import_module("torch")
    file = _path(one, options, weights)
    if one.kind == "mdx":
        net = mdx_net(file, device, torch.get_num_threads())
    elif one.kind == "demucs":
        loaded = demucs.load_net(file)
        net = demucs.net(demucs.Loaded(loaded, ()), (VOCALS,), options, device)
    else:
        net = ckpt_net(file, one.kind, options, device)
    return Member(net, one.weight, one.polarity)


@contextmanager
def _load(options: Mdx23Options, weights: Weights, device: str) -> Generator[NetSeparator]:
    members = asked(options)
    paths = [_path(one, options, weights) for one in members]
    if not paths:
        raise MissingWeights(f"{options.model} holds no nets", FOLDER)
    set_threads(import_module("torch"), options.threads)
    yield NetSeparator([_member(one, options, weights, device) for one in members], options)


def _check(options: Mdx23Options) -> Availability:
    own = _own_folder(options)
    if own and not own.is_dir():
        return Availability(False, f"there is no ensemble or folder {options.model!r}", f"choose {', '.join(MODELS)}")
    members = asked(options)
    if not members:
        return Availability(False, f"{options.model} holds no nets", FOLDER)
    for one in members:
        file = own and _in_folder(own, one)
        if not file and one.file not in HOMES:
            return Availability(False, f"the net {one.file} is neither known nor in the folder {options.model}", FOLDER)
        if file and file.suffix == ".ckpt" and one.file not in HOMES and not file.with_suffix(".yaml").is_file():
            return Availability(False, f"{file.with_suffix('.yaml').name} is not beside {file.name}", FOLDER)
    return READY


def _version(options: Mdx23Options) -> str:
    """Of a folder of one's own: what lies there."""
    own = _own_folder(options)
    if own is None or not own.is_dir():
        return ""
    files = sorted({file for one in asked(options) if (file := _in_folder(own, one))})
    return demucs.digest_of(own, files)


ENGINE = Engine(
    info=Info(
        kind="separation",
        name="mdx23",
        summary="takes dialogue out of any background by one or several nets for music (MDX, MDX23C, RoFormer, Demucs)",
        licence="MIT",
        homepage="https://github.com/nomadkaraoke/python-audio-separator",
        package="audio-separator",
        memory_mib=(3000, 3000),
        devices=frozenset({"cpu", "cuda"}),
        # RoFormers on several threads: of some 110 processes 3 answered in other bits than the rest (torch 2.13, CPU).
        deterministic=False,
        features=frozenset({"stems"}),
    ),
    options=Mdx23Options,
    load=_load,
    check=_check,
    languages=lambda _: None,
    weights=_needed,
    version=_version,
    models={
        "low": ("kim-vocal-2", "mdx23", "kim-melband"),
        "medium": ("kim-vocal-2", "mdx23", "kim-melband"),
        "high": ("kim-melband", "mdx23", "kim-vocal-2"),
    },
    environment=demucs.SEPARATION,
)
