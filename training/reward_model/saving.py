"""A pCTR as two files, named by its kind: pctr.safetensors and pctr.json, or context.safetensors and context.json.

The manifest comes last and holds the checksum of the weights, so that a torn pair is noticed.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from training.dataset.artifacts import write_json
from training.dataset.encoder import Encoder
from training.reward_model.context import FEATURES
from training.reward_model.inputs import KINDS
from training.reward_model.pctr import PCTR

VERSION = 1
LISTS = ("users", "ads", "features")


class ModelRefused(ValueError):
    """The folder holds no such model, a torn one, or one that needs another encoder."""


def save(model: PCTR, folder: Path) -> list[Path]:
    """Write weights, then manifest; each appears at once. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, manifest = folder / f"{model.name}.safetensors", folder / f"{model.name}.json"
    scratch = weights.with_name(weights.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}, scratch)
    content = {
        "version": VERSION,
        "kind": model.name,
        "encoder": model.encoder.name,
        "text_width": model.text_width,
        "features": list(FEATURES) if model.kind.context else [],
        "ads": list(model.ads),
        "users": list(model.users),
        "sha256": hashlib.sha256(scratch.read_bytes()).hexdigest(),
    }
    os.replace(scratch, weights)
    write_json(manifest, content)
    return [weights, manifest]


def load(folder: Path, kind: str, *, encoder: Encoder) -> PCTR:
    """The model of this kind in the folder, reading with the encoder given. Raises ModelRefused."""
    if kind not in KINDS:
        raise ModelRefused(f"there is no pCTR named {kind!r}: choose one of {', '.join(KINDS)}")
    weights, manifest = folder / f"{kind}.safetensors", folder / f"{kind}.json"
    if not weights.is_file() or not manifest.is_file():
        raise ModelRefused(f"{folder.name} holds no pCTR named {kind}: {weights.name} and {manifest.name} are needed")
    content = _manifest(manifest)
    if content["kind"] != kind or content["features"] != (list(FEATURES) if KINDS[kind].context else []):
        raise ModelRefused(f"{manifest.name} is of another kind, or sees other features than this version does")
    if content["encoder"] != encoder.name:
        raise ModelRefused(f"{manifest.name} reads with the encoder {content['encoder']}, not with {encoder.name}")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != content["sha256"]:
        raise ModelRefused(f"{weights.name} is not the file that {manifest.name} speaks of: one of them is torn or old")
    model = PCTR(
        KINDS[kind],
        encoder=encoder,
        text_width=content["text_width"],
        users=content["users"],
        ads=content["ads"],
    )
    try:
        model.network.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        raise ModelRefused(f"{weights.name} does not fit {manifest.name}: {error}") from None
    return model


def _manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelRefused(f"{path.name} cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ModelRefused(f"{path.name} is not a pCTR's manifest of version {VERSION}")
    whole = all(isinstance(content.get(name), list) for name in LISTS) and all(
        isinstance(content.get(name), str) for name in ("kind", "encoder", "sha256")
    )
    if not whole or not isinstance(content.get("text_width"), int):
        raise ModelRefused(f"{path.name} lacks a field")
    return content
