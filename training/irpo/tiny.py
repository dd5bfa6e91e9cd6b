"""A random Qwen3 of a few thousand weights with a tokenizer of its own, made in a second: for tests and a tiny preset.

Left to itself it writes nonsense without ads, which teaches nothing: so `write_ads` writes its answers. What can be
proved on the two is that every stage runs, and that training is exact.
"""

import json
import random
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from training.irpo.dpo import save_policy
from training.simulation.sampling import SampleRequest

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tiny_policy(out: Path, *, texts: Iterable[str], seed: int = 0, vocabulary: int = 700) -> None:
    """Write the folder of a model whose tokenizer has learned from `texts`; nothing where it is already there."""
    if (out / "config.json").exists():
        return
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )
    wrapped.chat_template = CHATML
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=wrapped.eos_token_id,
        pad_token_id=wrapped.pad_token_id,
        dtype="float32",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_policy(Qwen3ForCausalLM(config), wrapped, out)


def write_ads(request: SampleRequest, number: int, seed: int) -> str:
    """An answer with none to three of the prompt's ads, one in ten markers broken; follows from the seed alone."""
    rng = random.Random(seed)
    lines = [line for line in request.messages[0]["content"].splitlines() if line.startswith('{"Ad ID"')]
    shown = [json.loads(line) for line in rng.sample(lines, min(len(lines), rng.choice((0, 1, 1, 2, 3))))]
    markers = [f"@{ad['Ad Title']}@[{ad['Ad ID']}" + "]" * (rng.random() < 0.9) for ad in shown]
    tips = ["Begin slowly.", *(f"It helps to have {marker} at hand." for marker in markers), "Then rest for a while."]
    return " ".join(tips)
