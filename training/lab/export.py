"""A finished lab Ad-LLM as a folder that `transformers serve` and vLLM load. Knows files, not how it was trained."""

import json
import os
import shutil
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3ForCausalLM

GENERATE = Path("custom_generate", "generate.py")  # where transformers looks for a folder's own `generate`
OWN_GENERATE = '''"""The folder's own `generate`, for `transformers serve --trust-remote-code`."""

from training.lab.generate import generate  # noqa: F401
'''
MAX_WEIGHTS = 16 * 1024 * 1024  # one file; git keeps every version of it


def export(*, model: Qwen3ForCausalLM, tok: PreTrainedTokenizerFast, out: Path, manifest: dict[str, object]) -> None:
    """Write a folder that `transformers serve` and vLLM load, whole or not at all."""
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    model.generation_config = GenerationConfig(
        do_sample=True,  # without it `transformers serve` ignores temperature and top-p
        temperature=0.7,  # App. B.2.1
        top_p=0.8,
        top_k=20,
        max_new_tokens=512,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
    )
    # Stored in 16 bits, which doubles what fits; the configuration still says float32, in which a CPU computes.
    weights = {name: weight.to(torch.bfloat16) for name, weight in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight")
    model.save_pretrained(scratch, state_dict=weights)
    tok.save_pretrained(scratch)
    if (size := (scratch / "model.safetensors").stat().st_size) > MAX_WEIGHTS:
        raise ValueError(f"the weights take {size} bytes, more than {MAX_WEIGHTS}")
    (scratch / GENERATE).parent.mkdir()
    (scratch / GENERATE).write_text(OWN_GENERATE, encoding="utf-8")
    (scratch / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    (out / GENERATE).parent.mkdir(parents=True, exist_ok=True)
    for file in filter(Path.is_file, scratch.rglob("*")):
        os.replace(file, out / file.relative_to(scratch))
    shutil.rmtree(scratch)
