"""The plain way to compare with: TRL's DPOTrainer on the same preferences, every loser a pair with a prompt of its own.

TRL takes the mean over pairs, Eq. 6 the mean over queries of the mean over a query's losers: the two agree where every
query of a batch has as many losers as the others, and only such batches are taken here. Knows no ads.
"""

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import DPOConfig as TRLConfig
from trl import DPOTrainer

from training.irpo.log_probs import Answers


def pairs(groups: Sequence[Answers], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Prompt, chosen and rejected as text, which TRL tokenizes itself; it adds the end token.

    Raises ValueError where groups differ in their number of losers, or an answer did not end by itself.
    """
    if len({len(group.answers) for group in groups}) > 1:
        raise ValueError("TRL weighs pairs alike: every query must have as many losers as the others")
    if any(answer[-1] != tokenizer.eos_token_id for group in groups for answer in group.answers):
        raise ValueError("TRL ends every answer: cut answers cannot be compared")

    def text(tokens: list[int]) -> str:
        return tokenizer.decode(tokens, clean_up_tokenization_spaces=False)

    return Dataset.from_list(
        [
            {"prompt": text(group.prompt), "chosen": text(group.answers[0][:-1]), "rejected": text(loser[:-1])}
            for group in groups
            for loser in group.answers[1:]
        ]
    )


def plain_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    groups: Sequence[Answers],
    *,
    beta: float,
    out: Path,
    learning_rate: float = 1e-6,
) -> DPOTrainer:
    """A DPOTrainer whose one batch is all pairs of the groups, in float32 on this machine, to step or to look into.

    Its traps are avoided: `max_length` would cut the answers off behind 1,024 tokens, bf16 and gradient checkpointing
    are on by default, and dropout is off here as it is there. The reference is computed beforehand, as ours is.
    """
    rows = pairs(groups, tokenizer)
    config = TRLConfig(
        output_dir=str(out),
        beta=beta,
        learning_rate=learning_rate,
        per_device_train_batch_size=len(rows),
        max_length=None,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=len(rows),
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=model.device.type == "cpu",
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    return DPOTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
