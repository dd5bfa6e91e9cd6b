import numpy as np
import pytest

from training.dataset.encoder import CachedEncoder, EncoderError, HashEncoder, SentenceEncoder

TEXTS = ["Grind the beans just before brewing.", "A burr grinder.", "Wax the skis.", "", "tea", "Tea for two, please?"]


@pytest.fixture(scope="module")
def sentences():
    return SentenceEncoder()


class Counting:
    """An encoder that remembers what it was asked."""

    name = "counting"

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        return HashEncoder().encode(texts)


def test_a_sentence_means_what_it_says(sentences):
    rows = sentences.encode(["How do I make better coffee?", "Burr Coffee Grinder", "Wide View Ski Goggles"])
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2


def test_a_text_gets_the_same_bytes_in_any_company(sentences):
    together = sentences.encode(TEXTS)
    assert np.array_equal(together, np.concatenate([sentences.encode([text]) for text in TEXTS]))
    assert np.array_equal(together[::-1], sentences.encode(TEXTS[::-1]))


def test_no_texts_make_no_rows(sentences):
    assert sentences.encode([]).shape == (0, 384)
    assert CachedEncoder(HashEncoder(dimensions=8)).encode([]).shape == (0, 8)


def test_half_a_character_does_not_stop_the_encoder(sentences):
    assert np.isfinite(sentences.encode(["tea \ud83d"])).all()


def test_an_unknown_model_is_named(tmp_path):
    with pytest.raises(EncoderError, match=r"nowhere cannot be loaded"):
        SentenceEncoder(str(tmp_path / "nowhere")).encode(["tea"])


def test_a_text_is_encoded_once():
    inner = Counting()
    cached = CachedEncoder(inner)
    first = cached.encode(["tea", "coffee", "tea"])
    assert np.array_equal(first, HashEncoder().encode(["tea", "coffee", "tea"]))
    assert np.array_equal(cached.encode(["coffee", "milk"]), HashEncoder().encode(["coffee", "milk"]))
    assert inner.asked == ["tea", "coffee", "milk"]


def test_a_full_cache_forgets_the_oldest_and_stays_right():
    inner = Counting()
    cached = CachedEncoder(inner, most=2)
    for _ in range(2):
        assert np.array_equal(cached.encode(["a1x", "tea", "milk"]), HashEncoder().encode(["a1x", "tea", "milk"]))
    assert inner.asked.count("milk") == 1


def test_the_file_outlives_the_process_and_knows_its_encoder(tmp_path):
    file = tmp_path / "vectors.sqlite3"
    rows = CachedEncoder(Counting(), file=file).encode(["tea", "milk"])
    later = Counting()
    assert np.array_equal(CachedEncoder(later, file=file).encode(["milk", "tea"]), rows[::-1])
    assert later.asked == []
    with pytest.raises(EncoderError, match="holds the vectors of counting"):
        CachedEncoder(HashEncoder(), file=file)


def test_a_file_of_something_else_is_refused(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no database " * 100)
    with pytest.raises(EncoderError, match=r"notes\.txt is no cache"):
        CachedEncoder(HashEncoder(), file=file)


def test_hashed_words_are_alike_as_far_as_they_are_shared():
    one, same, half, none = HashEncoder().encode(["green tea", "Tea, green!", "black tea", "ski wax"])
    assert one @ same == pytest.approx(1)
    assert one @ half == pytest.approx(0.5)
    assert one @ none == pytest.approx(0)


def test_hashed_pieces_see_that_grinding_is_like_a_grinder():
    words, pieces = HashEncoder(), HashEncoder(dimensions=2048, pieces=(3, 5))
    for encoder, alike in ((words, False), (pieces, True)):
        one, other = encoder.encode(["grinding", "grinder"])
        assert bool(one @ other > 0.4) is alike
