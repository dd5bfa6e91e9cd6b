"""The folder's own `generate`, for `transformers serve --trust-remote-code`. Needs the project on its path."""

from training.lab.generate import generate  # noqa: F401
