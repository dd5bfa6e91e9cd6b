"""What the masks let through, markup must show: checked by writing at random, as a model that knows nothing would."""

import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from dataclasses import replace  # noqa: E402

from campaigns.auction.candidates import Candidate  # noqa: E402
from chat.adllm import markup  # noqa: E402
from chat.adllm.guidance import marker  # noqa: E402
from training.simulation.guidance import MarkerGuide, TokenTable, constrain, written_markers  # noqa: E402
from training.simulation.sampling import SampleRequest, SamplingSettings  # noqa: E402
from training.simulation.transformers_sampler import TransformersSampler  # noqa: E402

ADS = [
    Candidate("Ad-1000", "Tea", 1_000_000),
    Candidate("Ad-1001", "Tea Pot", 2_000_000),
    Candidate("Ad-1002", "Tea Pot", 3_000_000),  # the same title twice: only the id tells
    Candidate("Ad-20", 'The "Best" Müg', 4_000_000),
]
MARKERS = [marker(ad) for ad in ADS]


@pytest.fixture(scope="module")
def tok(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def table(tok):
    return TokenTable(tok)


def write(table, tok, rng, *, tokens, likely):
    """Tokens drawn at random among those that may come, `likely` ones more often; then every marker is closed."""
    guide, written = MarkerGuide(table, written_markers(MARKERS)), []
    while len(written) < tokens or guide._written is not None:
        scores = torch.zeros(len(tok))
        constrain(scores[None], [guide])
        allowed = [n for n in torch.isfinite(scores).nonzero()[:, 0].tolist() if n not in tok.all_special_ids]
        wished = [n for n in allowed if n in likely]
        token = rng.choice(wished if wished and rng.random() < 0.4 else allowed)
        written.append(token)
        guide.add(token)
    return tok.decode(written)


def test_random_writing_shows_every_ad_and_breaks_no_marker(tok, table):
    likely = {n for n, known in table.bytes_of.items() if known.endswith((b"@", b"[")) or known.startswith(b"A")}
    kinds, shown = set(), set()
    for seed in range(60):
        text = write(table, tok, random.Random(seed), tokens=80, likely=likely)
        parsed = markup.parse(text, ADS, max_ads=len(ADS))
        kinds |= set(parsed.errors)
        shown |= set(parsed.ads)
    assert kinds <= {markup.FormatError.leaked_prompt}  # the only kind that is not a marker's
    assert shown == {ad.ad_id for ad in ADS}


def test_free_writing_does_break_them(tok, table):
    signs = [table.by_bytes[b"@"][0], *table.by_bytes[b"T"], *table.by_bytes[b"["]]
    rng = random.Random(0)
    texts = [tok.decode(rng.choices(signs, k=40)) for _ in range(20)]
    assert any(markup.parse(text, ADS).errors for text in texts)


def test_an_answer_cannot_end_within_a_marker(tok, table):
    guide = MarkerGuide(table, written_markers(MARKERS))
    ends = []
    for token in [None, *tok(f"Try {MARKERS[3]}", add_special_tokens=False)["input_ids"]]:
        if token is not None:
            scores = torch.zeros(len(tok))
            constrain(scores[None], [guide])
            assert scores[token] == 0, tok.decode([token])
            guide.add(token)
        scores = torch.zeros(len(tok))
        constrain(scores[None], [guide])
        ends.append(bool(torch.isfinite(scores[tok.eos_token_id])))
    assert ends[0]
    assert ends[-1]
    assert not any(ends[3:-1])


def test_a_marker_that_was_broken_unguided_leaves_free_text(table, tok):
    guide = MarkerGuide(table, written_markers(MARKERS))
    for token in tok("@Nothing", add_special_tokens=False)["input_ids"]:
        guide.add(token)
    assert guide._written is None


def test_a_tokenizer_that_codes_no_bytes_is_told(tok):
    class Pieces:  # as of SentencePiece
        added_tokens_decoder, all_special_ids = {}, []

        def get_vocab(self):
            return {"\u2581tea": 0}

    with pytest.raises(ValueError, match="cannot be guided"):
        TokenTable(Pieces())


def test_the_sampler_writes_only_true_markers(tiny_model):
    sampler = TransformersSampler(tiny_model, device="cpu")
    words = [{"role": "user", "content": "Name ads: @Tea@[Ad-1000] @Tea Pot@[Ad-1001] @"}]
    settings = SamplingSettings(temperature=1.5, top_p=1.0, top_k=0, max_tokens=150, seed=1)
    free = [SampleRequest(f"q{n}", words) for n in range(4)]
    guided = [replace(request, markers=tuple(MARKERS)) for request in free]
    counted = []
    for requests in (free, guided):
        texts = [answer.text for found in sampler.sample(requests, n=6, settings=settings) for answer in found]
        parsed = [markup.parse(text, ADS, max_ads=9) for text in texts]
        errors = sum((found.errors for found in parsed), start=type(parsed[0].errors)())
        counted.append((sum(found.n_ads for found in parsed), errors))
    (_, broken), (ads, errors) = counted
    assert ads > 0
    assert sum(broken.values()) > 0
    assert set(errors) <= {markup.FormatError.half_marker, markup.FormatError.leaked_prompt}  # cut by the limit
