"""Dialogue by Demucs (Rouard et al. 2023), nets that tell the stems of music apart, run by the package demucs.

Of its bags only the nets that say something about vocals are asked for the dialogue; for all stems, all are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from pydantic import Field

from polydub.engines.base import READY, Availability, Engine, Environment, Info, Weight, Weights
from polydub.engines.separation.net_weights import DEMUCS
from polydub.engines.separation.nets import NET_HZ, VOCALS, Member, Net, NetOptions, NetSeparator, set_threads
from polydub.errors import EngineFailed, MissingWeights
from polydub.types import Audio, Samples, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Stereo = NDArray[np.float32]
else:
    Stereo = object

SEPARATION = Environment(name="separation", module="demucs")
PULL = "pull the weights again"
FOLDER = "a folder of one's own holds NAME-CHECKSUM.th or NAME.safetensors, and a .yaml if there are several"
CHECKSUMMED = re.compile(r"(.+)-([0-9a-f]{8,64})\.th")
SHIFT_S = 0.5  # by so much demucs moves the sound at most
LONGEST_S = 10.5  # of windows of nets without a length of their own
MODELS: Mapping[str, tuple[Weight, ...]] = {
    "htdemucs": (DEMUCS["htdemucs"],),
    "htdemucs_ft": (DEMUCS["htdemucs-ft-vocals"], DEMUCS["htdemucs-ft-rest"]),
    "htdemucs_ft_vocals": (DEMUCS["htdemucs-ft-vocals"],),
    "htdemucs_6s": (DEMUCS["htdemucs-6s"],),
    "hdemucs_mmi": (DEMUCS["hdemucs-mmi"],),
}
# Which net of htdemucs_ft says what, in the order of the stems drums, bass, other, vocals (its bag, htdemucs_ft.yaml)
FINE_TUNED = ("f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d")


class DemucsOptions(NetOptions):
    """Options of Demucs."""

    model: str = Field("htdemucs", min_length=1, description=f"one of {', '.join(MODELS)}, or the path of a folder")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A net of Demucs as it is loaded, and how much it counts for each of its stems."""

    model: Any
    weights: tuple[float, ...]


class DemucsSeparator:
    """A Separator that can tell stems apart. Serves one call at a time."""

    def __init__(self, vocals: NetSeparator, parts: NetSeparator) -> None:
        self._vocals, self._parts = vocals, parts

    def separate(self, sound: Audio, speech: Sequence[Span]) -> Samples | None:
        """As NetSeparator.separate."""
        return self._vocals.separate(sound, speech)

    def stems(self, sound: Audio, spans: Sequence[Span]) -> Mapping[str, Samples]:
        """As NetSeparator.stems: vocals, drums, bass (with htdemucs_6s guitar and piano, too), other."""
        return self._parts.stems(sound, spans)


def files(folder: Path) -> tuple[Path, ...]:
    """The nets in a folder, sorted; those whose names carry no checksum do not count, for a .th file is a program."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(file for file in folder.iterdir() if CHECKSUMMED.fullmatch(file.name) or file.suffix == ".safetensors"))


def load_net(file: Path) -> Any:
    """A net of Demucs from `NAME-CHECKSUM.th` or `NAME.safetensors`. Raises: EngineFailed, MissingWeights."""
    states, hub = import_module("demucs.states"), import_module("demucs.hf")
    if not file.is_file():
        raise MissingWeights(f"{file.name} is not in {file.parent.name}", PULL)
    try:
        if file.suffix == ".safetensors":
            model = hub.load_safetensors_model(file)
        else:
            _check_sum(file)
            model = states.load_model(file)
    except (RuntimeError, OSError, ValueError, TypeError, KeyError, AttributeError, EOFError, UnpicklingError) as error:
        raise EngineFailed(f"demucs cannot load {file.name}: {_first_line(error)}", PULL) from error
    if model.samplerate != NET_HZ or model.audio_channels != 2 or VOCALS not in model.sources:
        raise EngineFailed(f"{file.name} is no net for vocals in stereo sound at 44.1 kHz", "choose another model")
    return model.eval()


def _check_sum(file: Path) -> None:
    found = CHECKSUMMED.fullmatch(file.name)
    if found is None:
        raise EngineFailed(f"{file.name} has no checksum in its name, and loading it could run anything", FOLDER)
    digest = sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(found[2]):
        raise EngineFailed(f"{file.name} is damaged: its checksum is not the one in its name", PULL)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def net(loaded: Loaded, stems: tuple[str, ...], options: NetOptions, device: str) -> Net:
    """A loaded net as one that answers with `stems`."""
    torch, apply = import_module("torch"), import_module("demucs.apply")
    model = loaded.model.to(device)
    trained = float(model.segment) if hasattr(model, "use_train_segment") else LONGEST_S
    longest = min(trained, LONGEST_S) - (SHIFT_S if options.shifts else 0)
    window = int(min(longest, options.segment_s or longest) * NET_HZ)
    which = [model.sources.index(stem) for stem in stems]

    def answer(stereo: Stereo) -> Stereo:
        random.seed(0)  # the moves of one window are those of any other
        with torch.inference_mode():
            heard = torch.from_numpy(stereo).to(device)
            found = apply.apply_model(model, heard[None], shifts=options.shifts, split=False, device=device)[0]
        return found[which].float().cpu().numpy()

    return Net(stems, window, 0, answer)


def blend(nets: Sequence[Loaded], stems: tuple[str, ...], options: NetOptions, device: str) -> NetSeparator:
    """Nets with weights for each stem as one separator for `stems`: only nets that say something about them are asked."""
    import numpy as np

    which: list[int] = [nets[0].model.sources.index(stem) for stem in stems]
    asked = [one for one in nets if sum(one.weights[n] for n in which)]
    answering = [net(one, stems, options, device) for one in asked]
    if len(asked) == 1:
        return NetSeparator([Member(answering[0])], options)
    shares = np.array([[one.weights[n] for n in which] for one in asked], np.float32)
    shares /= shares.sum(axis=0)

    def answer(stereo: Stereo) -> Stereo:
        found = np.zeros((len(stems), *stereo.shape), np.float32)
        for one, share in zip(answering, shares, strict=True):
            found += one.answer(stereo) * share[:, None, None]
        return found

    return NetSeparator([Member(Net(stems, answering[0].window, 0, answer))], options)


def _bag(options: DemucsOptions, folders: Weights) -> list[Loaded]:
    """The nets of a model. Raises: EngineFailed, MissingWeights."""
    if options.model not in MODELS:
        return _own_bag(Path(options.model).expanduser())
    known = [folders[weight.id] / file.name for weight in MODELS[options.model] for file in weight.files]
    loaded = {file.name.partition("-")[0]: load_net(file) for file in known}
    if options.model != "htdemucs_ft":
        return [Loaded(model, (1.0,) * len(model.sources)) for model in loaded.values()]
    return [Loaded(loaded[name], tuple(float(n == at) for n in range(4))) for at, name in enumerate(FINE_TUNED)]


def _own_bag(folder: Path) -> list[Loaded]:
    found = {file.name.partition("-")[0] if file.suffix == ".th" else file.stem: file for file in files(folder)}
    plans = sorted(folder.glob("*.yaml"))
    if not plans:
        if len(found) != 1:
            raise MissingWeights(f"{folder.name} holds {len(found)} nets of Demucs, and no .yaml that joins them", FOLDER)
        (model,) = map(load_net, found.values())
        return [Loaded(model, (1.0,) * len(model.sources))]
    yaml = import_module("yaml")
    try:
        plan = yaml.safe_load(plans[0].read_bytes())
        models = [load_net(found[name]) for name in plan["models"]]
        weights = plan.get("weights") or [[1.0] * len(models[0].sources)] * len(models)
        bag = [Loaded(model, tuple(map(float, row))) for model, row in zip(models, weights, strict=True)]
        sound = all(one.model.sources == models[0].sources and len(one.weights) == len(models[0].sources) for one in bag)
    except (yaml.YAMLError, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise EngineFailed(f"{plans[0].name} describes no bag of the nets beside it: {_first_line(error)}", FOLDER) from error
    if not sound or not all(any(row[n] for row in weights) for n in range(len(models[0].sources))):
        raise EngineFailed(f"the weights in {plans[0].name} do not fit its models", FOLDER)
    return bag


@contextmanager
def _load(options: DemucsOptions, weights: Weights, device: str) -> Generator[DemucsSeparator]:
    torch = import_module("torch")
    set_threads(torch, options.threads)
    bag = _bag(options, weights)
    sources = bag[0].model.sources
    names = (VOCALS, *(name for name in sources if name not in (VOCALS, "other")))
    vocals = blend(bag, (VOCALS,), options, device)
    yield DemucsSeparator(vocals, blend(bag, names, options, device))


def _check(options: DemucsOptions) -> Availability:
    if options.model in MODELS:
        return READY
    folder = Path(options.model).expanduser()
    if not folder.is_dir():
        return Availability(False, f"there is no Demucs model or folder {options.model!r}", f"choose {', '.join(MODELS)}")
    if not files(folder):
        return Availability(False, f"{folder.name} holds no net of Demucs", FOLDER)
    return READY


def digest_of(folder: Path, found: Sequence[Path]) -> str:
    """What tells a folder of one's own from another: names, lengths and both ends of its files."""
    digest = sha256()
    for file in (*found, *sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.json"))):
        with file.open("rb") as opened:
            length = opened.seek(0, 2)
            digest.update(f"{file.name} {length} ".encode())
            for at in (0, max(0, length - 2**20)):
                opened.seek(at)
                digest.update(opened.read(2**20))
    return f"folder {digest.hexdigest()[:16]}"


def _version(options: DemucsOptions) -> str:
    folder = Path(options.model).expanduser()
    return "" if options.model in MODELS else digest_of(folder, files(folder))


ENGINE = Engine(
    info=Info(
        kind="separation",
        name="demucs",
        summary="tells vocals, drums, bass and the rest apart by nets for music (Demucs 4)",
        licence="MIT",
        homepage="https://github.com/adefossez/demucs",
        package="demucs",
        memory_mib=(1500, 1500),
        devices=frozenset({"cpu", "cuda"}),
        features=frozenset({"stems"}),
    ),
    options=DemucsOptions,
    load=_load,
    check=_check,
    languages=lambda _: None,
    weights=lambda options: MODELS.get(options.model, ()),
    version=_version,
    models={
        "low": ("htdemucs", "htdemucs_ft_vocals", "htdemucs_ft", "htdemucs_6s", "hdemucs_mmi"),
        "medium": ("htdemucs_ft_vocals", "htdemucs_ft", "htdemucs", "htdemucs_6s", "hdemucs_mmi"),
        "high": ("htdemucs_ft_vocals", "htdemucs_ft", "htdemucs", "htdemucs_6s", "hdemucs_mmi"),
    },
    environment=SEPARATION,
)
