"""The rows of the data sets, as they stand in files: one frozen dataclass a file. Knows nothing of models or of Django.

The paper's words: a user h asks a query x; an auction freezes ads a and bids b; a response y shows some of them; the
feedback c says which were clicked (section 3, Figure 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from campaigns.auction.candidates import MICROS, Candidate

Split = Literal["train", "test"]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Profile:
    """A simulated user: basic information and personal interests (section 5.1). `split` holds for all their queries."""

    id: Text
    info: str
    interests: tuple[str, ...]
    split: Split

    @property
    def text(self) -> str:
        """The profile as it stands in a prompt."""
        return f"{self.info} Interests: {', '.join(self.interests)}." if self.interests else self.info

    @property
    def parts(self) -> tuple[str, ...]:
        """What meanings are compared with, one by one: each interest, and the basic information; without empty ones."""
        return tuple(text for text in (*self.interests, self.info) if text.strip())


@dataclass(frozen=True)
class Query:
    """One question of a simulated user."""

    id: Text
    profile_id: Text
    text: Text
    split: Split


@dataclass(frozen=True)
class Ad:
    """An ad of a world. `category` and `description` may be empty: the Ad-LLM never sees them."""

    id: Annotated[str, Field(pattern=r"^Ad-[0-9]{1,9}$")]
    title: Text
    category: str = ""
    description: str = ""

    @property
    def text(self) -> str:
        """What stands for the ad where meanings are compared: its title, and its description if there is one."""
        return f"{self.title}. {self.description}" if self.description else self.title


@dataclass(frozen=True)
class Auction:
    """The candidates of one query in one phase: ad ids in the prompt's order, each with its bid in whole units."""

    query_id: Text
    ad_ids: tuple[str, ...]
    bids: tuple[int, ...]

    def candidates(self, ads: Mapping[str, Ad]) -> list[Candidate]:
        """What the prompt builder and the parser take."""
        return [
            Candidate(ad_id=ad_id, title=ads[ad_id].title, bid_micros=bid * MICROS)
            for ad_id, bid in zip(self.ad_ids, self.bids, strict=True)
        ]


@dataclass(frozen=True)
class Response:
    """One sampled answer of the Ad-LLM, as it was written. `finished` is False where the length limit cut it."""

    query_id: Text
    sample: Annotated[int, Field(ge=0)]
    text: str
    tokens: Annotated[int, Field(ge=0)]
    finished: bool = True


@dataclass(frozen=True)
class Exposure:
    """One answer before one user: all that a click may depend on. Bids stand in the auction; nobody reads them."""

    profile: Profile
    query: Query
    auction: Auction
    response: Response


@dataclass(frozen=True)
class AdFeedback:
    """What the user did with one shown ad. `position` counts shown ads from 0; `ctr` is the true chance if known."""

    ad_id: str
    position: int
    clicked: bool
    ctr: Share | None = None
    reason: str = ""


@dataclass(frozen=True)
class Feedback:
    """Feedback on one response: every shown ad exactly once. `errors` counts what a judge got wrong, by kind."""

    query_id: Text
    sample: int
    ads: tuple[AdFeedback, ...]
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class OnlineSample:
    """One row of the online data set D_on = {x, h, a, y, c}: an answer before a user, and what was clicked (4.1.2)."""

    exposure: Exposure
    feedback: Feedback


@dataclass(frozen=True)
class ScoredResponse:
    """One answer of the M that a query was given, and its reward (Eq. 8). `n_ads` and `format_error` are markup's."""

    query_id: Text
    sample: Annotated[int, Field(ge=0)]
    text: str
    tokens: Annotated[int, Field(ge=0)]
    finished: bool
    reward: Annotated[float, Field(allow_inf_nan=False)]
    n_ads: Annotated[int, Field(ge=0)]
    format_error: bool


@dataclass(frozen=True)
class PreferenceGroup:
    """What DPO learns from one query: the answer that wins and those that lose, under the bids of `auction`."""

    query_id: Text
    auction: Auction
    winner: ScoredResponse
    losers: Annotated[tuple[ScoredResponse, ...], Field(min_length=1)]
