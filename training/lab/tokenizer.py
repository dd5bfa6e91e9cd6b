"""The lab Ad-LLM's tokenizer: byte-level BPE in which the prompt template's constant parts are single tokens.

A prompt with 100 candidates takes about 1,700 tokens instead of 3,900, and its text stays what every model reads.
Knows the prompt's constants, not what stands between them.
"""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from campaigns.auction.candidates import Candidate, format_micros
from chat.adllm import prompts
from training.lab import answers, catalogue, questions
from training.lab.topics import load_topics

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
USER, ASSISTANT = f"{START}user\n", f"{START}assistant\n"
# What a bid becomes for this model: one token for each whole bid of the paper's range (section 5.2.3), the marker's end
# before it included.
BIDS = tuple(f"] bid {bid}: " for bid in range(1, 101))
# A marker's "@[Ad-" is one token with the id's first two digits, so that what follows a title is the id itself.
MARKER_IDS = tuple(f"@[Ad-{digits}" for digits in range(10, 100))
# "@" stands alone so that a title has the same tokens in the candidate list and in a marker, whatever surrounds it.
FRAGMENTS = (
    prompts.ROLE_AND_TASK,
    prompts.REQUIREMENTS,
    prompts.QUESTION,
    prompts.ANSWER,
    *BIDS,
    "@",
    " @",
    *MARKER_IDS,
)
# In the prompt an id stands before its title, in a marker after it; a model of this size did not learn to turn
# them round. So its chat template shows the list as markers: docs/adr/0003-lab-model.md.
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


def listed(candidate: Candidate) -> str:
    """A candidate's line as the chat template shows it to the model: marker, whole bid, the title's first two words."""
    bid = min(100, max(1, round(float(format_micros(candidate.bid_micros)))))
    begins = " ".join(candidate.title.split(" ")[:2])
    return f"@{candidate.title}@[{candidate.ad_id}{BIDS[bid - 1]}{begins}\n"


def sample_texts(seed: int, *, count: int) -> Iterator[str]:
    """What the merges are learned from: titles, questions, profiles, answers, and every tip once."""
    for entry in load_topics().values():
        for thread in entry.threads:
            yield " ".join((*thread.tips, *thread.topics, *thread.questions))
        # words that tell a topic are whole tokens
        for word in (*entry.keywords, *entry.related, *entry.asked, *entry.products):
            yield f"{word} {word} {word.capitalize()} {word.title()} {word} {word}"
    for number in range(count):
        rng = random.Random(f"{seed}/text/{number}")
        slug = rng.choice(list(load_topics()))
        ads = catalogue.make_candidates(rng, count=40, wanted=(slug,))
        asked = (
            questions.training_question(rng, category=slug) if rng.random() < 0.9 else questions.elsewhere_question(rng)
        )
        yield "\n".join(ad.candidate.title for ad in ads)
        yield asked.text
        visitor = questions.visitor(rng)
        yield visitor.profile
        yield answers.answer(rng, question=asked, ads=ads, interests=visitor.interests)
    for number in range(100):  # every one- and two-digit token
        yield f"{number} {number:02d} " * 200


def train_tokenizer(texts: Iterable[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer with the fragments added; the same texts give the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(fragment, normalized=False) for fragment in FRAGMENTS])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
