"""What inserted ads cost the user: the paper's s_u of Eq. 8. What N_ad and a format error are, markup says."""

from chat.adllm.markup import Parsed

AD_PENALTY = 10  # Eq. 8
FORMAT_PENALTY = 500  # Eq. 8


def penalty(parsed: Parsed) -> int:
    """10 N_ad^2 + 500 if there is any format error: how much of the reward the answer loses at lambda 1."""
    return AD_PENALTY * parsed.n_ads**2 + FORMAT_PENALTY * bool(parsed.errors)
