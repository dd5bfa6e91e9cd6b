"""Who clicks: the one seam behind which stand the built-in users and the User-LLM judge. Knows none of them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from training.dataset.records import Ad, Auction, Exposure, Feedback, Profile, Query, Response


class ClickModel(Protocol):
    """Feedback on answers. The same exposure and seed give the same clicks, whatever else is asked."""

    name: str

    def feedback(
        self,
        *,
        profile: Profile,
        query: Query,
        ads: Mapping[str, Ad],
        auction: Auction,
        response: Response,
        seed: int | str,
    ) -> Feedback:
        """Every ad that the answer shows, once, in the order of first mention."""
        ...

    def feedback_many(self, exposures: Sequence[Exposure], *, ads: Mapping[str, Ad], seed: int | str) -> list[Feedback]:
        """The same for many answers at once, in order; much faster. `ads` holds at least the auctions' ads."""
        ...


def uniform(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone: draws need no order, so a run may stop and go on anywhere."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode("utf-8", "replace"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
