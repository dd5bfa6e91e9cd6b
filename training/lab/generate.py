"""The built-in model's own `generate`: it can write no marker but those of the candidates in its prompt.

`transformers serve --trust-remote-code` finds it by the model's folder (custom_generate/generate.py), since that server
knows no grammars.
"""

import re

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from chat.adllm.prompts import REQUIREMENTS
from training.simulation.guidance import MarkerGuide, constrain, token_table, written_markers

_LINE = re.compile(r"^(@[^@\n]+@\[[^\]\n]+\]) bid \d+: ", re.MULTILINE)  # as chat_template.jinja shows candidates


class _Guided(LogitsProcessor):
    def __init__(self, guides: list[MarkerGuide], height: int) -> None:
        self._guides, self._read = guides, height

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        for guide, written in zip(self._guides, input_ids[:, self._read :].tolist(), strict=True):
            for token in written:
                guide.add(token)
        constrain(scores, self._guides)
        self._read = input_ids.shape[1]
        return scores


def generate(model, input_ids, tokenizer, logits_processor=None, **settings):
    """As `generate` of transformers. Only the list is read, not what visitors wrote behind it."""
    table = token_table(tokenizer)
    guides = []
    for prompt in tokenizer.batch_decode(input_ids):
        lines = _LINE.findall(prompt.partition(REQUIREMENTS)[0])
        guides.append(MarkerGuide(table, written_markers(lines)))
    processors = LogitsProcessorList([*(logits_processor or ()), _Guided(guides, input_ids.shape[1])])
    return type(model).generate(
        model, input_ids=input_ids, tokenizer=tokenizer, logits_processor=processors, **settings
    )
