"""Where models compute. Knows no model."""

import torch


def default_device() -> torch.device:
    """The GPU if there is one, the CPU otherwise."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
