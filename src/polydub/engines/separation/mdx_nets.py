"""MDX, MDX23C and RoFormer nets from their files, as nets that answer with vocals. None is run that does not fit its file.

The nets are those of the package audio-separator; what it does around them is not used (see `mdx23`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import md5
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, cast

from polydub.engines.separation.net_weights import KIM_MELBAND
from polydub.engines.separation.nets import NET_HZ, OTHER, VOCALS, Net, NetOptions
from polydub.errors import EngineFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Stereo = NDArray[np.float32]
else:
    Stereo = object

FOLDER = "a folder holds NAME.onnx with NAME.json, NAME.ckpt with NAME.yaml, or NAME-CHECKSUM.th"
PULL = "pull the weights again"
VOICES = ("vocals", "vocal", "speech", "dialogue", "dialog", "voice")  # what a net may call them
HOP = 1024  # of MDX nets
LOW_BINS = 3  # below 20 Hz, which MDX nets were trained without
UVR_TAIL = 10_000 * 1024  # bytes at the end of a file by whose MD5 UVR knows an MDX net

# From UVR's model_data_new.json (TRvlvr/application_data), where the nets are known by the MD5 sums 970b3f94..., 73492b58...
# and b6bccda4... of their last 10,000 KiB.
_KIM = {"mdx_dim_f_set": 3072, "mdx_dim_t_set": 8, "mdx_n_fft_scale_set": 7680}
MDX_DATA: Mapping[str, Mapping[str, Any]] = {
    "Kim_Vocal_1.onnx": {**_KIM, "compensate": 1.043, "primary_stem": "Vocals"},
    "Kim_Vocal_2.onnx": {**_KIM, "compensate": 1.009, "primary_stem": "Vocals"},
    "Kim_Inst.onnx": {**_KIM, "compensate": 1.02, "primary_stem": "Instrumental"},
}
# config_vocals_mel_band_roformer_kj.yaml of Music-Source-Separation-Training (MIT): the checkpoint comes without it
KIM_CONFIG: Mapping[str, Any] = {
    "audio": {"chunk_size": 352_800, "sample_rate": NET_HZ, "num_channels": 2},
    "model": {
        "dim": 384, "depth": 6, "stereo": True, "num_stems": 1, "time_transformer_depth": 1, "freq_transformer_depth": 1,
        "num_bands": 60, "dim_head": 64, "heads": 8, "attn_dropout": 0, "ff_dropout": 0, "flash_attn": True,
        "dim_freqs_in": 1025, "sample_rate": NET_HZ, "stft_n_fft": 2048, "stft_hop_length": 441, "stft_win_length": 2048,
        "stft_normalized": False, "mask_estimator_depth": 2,
    },
    "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals"},
    "inference": {"dim_t": 801},
}  # fmt: skip


def mdx_data(file: Path) -> Mapping[str, Any]:
    """What an MDX net does not say of itself: NAME.json beside it, or UVR's list of all nets, or what is known here.

    Raises: EngineFailed.
    """
    try:
        beside = file.with_suffix(".json")
        if beside.is_file():
            return _checked(json.loads(beside.read_bytes()), file)
        for name in ("model_data_new.json", "model_data.json", "mdx_model_data.json"):
            if (file.parent / name).is_file():
                listed = json.loads((file.parent / name).read_bytes())
                if found := listed.get(_uvr_sum(file)):
                    return _checked(found, file)
    except (OSError, ValueError, AttributeError) as error:
        raise EngineFailed(f"the description of {file.name} cannot be read: {error}", FOLDER) from error
    if file.name in MDX_DATA:
        return MDX_DATA[file.name]
    raise EngineFailed(f"nothing says how {file.name} is to be used", f"write {beside.name} as in UVR's model_data.json")


def _checked(data: Any, file: Path) -> Mapping[str, Any]:
    numbers = ("compensate", "mdx_dim_f_set", "mdx_dim_t_set", "mdx_n_fft_scale_set")
    told = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if not all(isinstance(told.get(key), int | float) for key in numbers):
        raise EngineFailed(f"the description of {file.name} lacks some of {', '.join(numbers)}", FOLDER)
    return told


def _uvr_sum(file: Path) -> str:
    with file.open("rb") as opened:
        opened.seek(max(0, opened.seek(0, 2) - UVR_TAIL))
        return md5(opened.read(), usedforsecurity=False).hexdigest()


def mdx_net(file: Path, device: str, threads: int) -> Net:
    """An MDX net as it answers with vocals. A net for the rest gives what it leaves of the sound, within its band.

    Raises: EngineFailed.
    """
    torch, runtime = import_module("torch"), import_module("onnxruntime")
    stft = import_module("audio_separator.separator.uvr_lib_v5.stft").STFT
    data = mdx_data(file)
    bins, frames, size = int(data["mdx_dim_f_set"]), 2 ** int(data["mdx_dim_t_set"]), int(data["mdx_n_fft_scale_set"])
    session = _session(runtime, file, device, threads)
    shape = session.get_inputs()[0].shape
    if [*shape[1:]] != [4, bins, frames]:
        raise EngineFailed(
            f"{file.name} wants {shape[1:]}, but its description says {[4, bins, frames]}", "use its own description"
        )
    primary = str(data.get("primary_stem", VOCALS)).casefold()
    compensate = float(data["compensate"])
    bands, given = stft(None, size, HOP, bins, torch.device("cpu")), session.get_inputs()[0].name

    def answer(stereo: Stereo) -> Stereo:
        with torch.inference_mode():
            spectrum = bands(torch.from_numpy(stereo)[None])
            spectrum[:, :, :LOW_BINS] = 0
            found = torch.from_numpy(session.run(None, {given: spectrum.numpy()})[0]) * compensate
            return bands.inverse(found if primary in VOICES else spectrum - found).numpy()

    return Net((VOCALS,), HOP * (frames - 1), size // 2, answer)


def _session(runtime: Any, file: Path, device: str, threads: int) -> Any:
    how = runtime.SessionOptions()
    how.intra_op_num_threads, how.inter_op_num_threads, how.log_severity_level = threads, 1, 3
    provider = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
    if provider not in runtime.get_available_providers():
        raise EngineFailed("this onnxruntime cannot use the graphics card", "polydub engines install separation --variant cuda")
    number = {"device_id": int(device.partition(":")[2] or 0)} if device.startswith("cuda") else {}
    errors = runtime.capi.onnxruntime_pybind11_state
    try:
        session = runtime.InferenceSession(str(file), how, [(provider, number)])
    except (errors.NoSuchFile, errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.Fail) as error:
        raise EngineFailed(f"{file.name} is no net that can be read", PULL) from error
    if provider not in session.get_providers():
        raise EngineFailed(f"onnxruntime cannot use {device}: its libraries are missing", "use --device cpu")
    return session


def ckpt_net(file: Path, kind: str, options: NetOptions, device: str) -> Net:
    """An MDX23C or RoFormer net as it answers with vocals. Its weights fit its description, or it is refused.

    Raises: EngineFailed.
    """
    torch = import_module("torch")
    config = _config(file)
    made = _made(config, file, kind, device)
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
        for wrapper in ("state_dict", "model"):
            state = state.get(wrapper, state)
        made.load_state_dict(state)
    except (RuntimeError, OSError, ValueError, TypeError, AttributeError, EOFError, UnpicklingError) as error:
        raise EngineFailed(f"{file.name} does not fit its description, or is damaged", f"{PULL}, and its own .yaml") from error
    made = made.to(device).eval()
    names = _names(config, file)
    own = _hop(config) * (int(config["inference"]["dim_t"]) - 1) if "dim_t" in config.get("inference", {}) else None
    window = own or int(config["audio"]["chunk_size"])
    if options.segment_s and "stft_hop_length" in config["model"]:  # MDX23C nets halve their frames again and again
        window = min(window, round(options.segment_s * NET_HZ))
    window = max(1, window // _hop(config)) * _hop(config)

    def answer(stereo: Stereo) -> Stereo:
        with torch.inference_mode():
            found = made(torch.from_numpy(stereo)[None].to(device))[0].float().cpu()
        stems = found.reshape(-1, *found.shape[-2:])[..., : stereo.shape[1]].numpy()
        voice = next((n for n, name in enumerate(names) if name in VOICES), None)
        return (stereo - stems[0] if voice is None else stems[voice])[None]

    return Net((VOCALS,), window, 0, answer)


def _config(file: Path) -> Mapping[str, Any]:
    """What a checkpoint's .yaml says. Raises: EngineFailed."""
    yaml = import_module("yaml")
    beside = file.with_suffix(".yaml")
    if not beside.is_file():
        if file.name == KIM_MELBAND.files[0].name:
            return KIM_CONFIG
        raise EngineFailed(f"{beside.name} is not beside {file.name}", "put the description there that came with the net")

    class Loader(yaml.SafeLoader):
        """Reads tuples, too, which such files have."""

    Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)
    try:
        config = yaml.load(beside.read_bytes(), Loader)
        if not all(isinstance(config[part], dict) for part in ("audio", "model", "training")):
            raise ValueError("a part of it is no table")
    except (yaml.YAMLError, OSError, ValueError, KeyError, TypeError) as error:
        raise EngineFailed(f"{beside.name} does not describe a net with audio, model and training", FOLDER) from error
    rate = config["audio"].get("sample_rate", NET_HZ)
    if rate != NET_HZ:
        raise EngineFailed(f"{file.name} is for sound at {rate} Hz, not 44.1 kHz", "choose another model")
    return config


def _tuple(loader: Any, node: Any) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node))


def _made(config: Mapping[str, Any], file: Path, kind: str, device: str) -> Any:
    """The net that a description describes, with random weights. Raises: EngineFailed."""
    described: dict[str, Any] = dict(config["model"])
    is_roformer = "freqs_per_bands" in described or "num_bands" in described
    if kind and (kind == "roformer") != is_roformer:
        raise EngineFailed(
            f"{file.name} is a net of another kind than {kind}", f"name it {'roformer' if is_roformer else 'mdx23c'}"
        )
    nets = "audio_separator.separator.uvr_lib_v5"
    errors = import_module("beartype.roar").BeartypeCallHintViolation
    try:
        if "freqs_per_bands" in described:
            return import_module(f"{nets}.roformer.bs_roformer").BSRoformer(**_tuples(described))
        if is_roformer:
            return import_module(f"{nets}.roformer.mel_band_roformer").MelBandRoformer(**_tuples(described))
        whole = import_module("ml_collections").ConfigDict(config)
        return import_module(f"{nets}.tfc_tdf_v3").TFC_TDF_net(whole, device=device)
    except (errors, RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise EngineFailed(f"the description of {file.name} describes no net: {text}", PULL) from error


def _tuples(described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value for key, value in described.items()}


def _hop(config: Mapping[str, Any]) -> int:
    return int(config["model"].get("stft_hop_length") or config["audio"]["hop_length"])


def _names(config: Mapping[str, Any], file: Path) -> list[str]:
    """What a net answers with. Raises: EngineFailed when the vocals cannot be had of it."""
    target = config["training"].get("target_instrument")
    names = [str(name).casefold() for name in ([target] if target else config["training"]["instruments"])]
    rest = (OTHER, "instrumental", "music", "no vocals")
    if not any(name in VOICES for name in names) and not (len(names) == 1 and names[0] in rest):
        raise EngineFailed(f"{file.name} tells {', '.join(names)} apart, not vocals", "choose another model")
    return names
