"""The folder's own `generate`, for `transformers serve --trust-remote-code`."""

from training.lab.generate import generate  # noqa: F401
