"""The pCTR (Eq. 3): frozen text vectors, learned embeddings of user and ad, numbers of the context, and an MLP.

One network for both kinds; `inputs.Kind` says which inputs it has. Unknown users and ads share a learned embedding,
number 0. Knows nothing of clicks: `fit` trains it.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from training.dataset.encoder import Encoder, one_thread
from training.dataset.records import Ad, Exposure
from training.reward_model.context import FEATURES
from training.reward_model.inputs import Inputs, Kind, gather

BLOCK = 256  # rows that are predicted together, padded: a row's bits then do not depend on the others
UNKNOWN = 0
EMBEDDING_SPREAD = 0.05  # at the start; the paper does not say


class ClickNetwork(nn.Module):
    """sigma(MLP([phi(x); phi(y); e_h; e_a; context])), Eq. 3, without the sigma."""

    def __init__(self, kind: Kind, *, text_width: int, num_users: int, num_ads: int) -> None:
        super().__init__()
        features = len(FEATURES) if kind.context else 0
        self.users = _embedding(num_users, kind.users)
        self.ads = _embedding(num_ads, kind.ads)
        self.register_buffer("center", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        widths = [2 * text_width * kind.texts + kind.users + kind.ads + features, *kind.hidden]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Linear(inner, outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, query: Tensor, answer: Tensor, user: Tensor, ad: Tensor, context: Tensor) -> Tensor:
        """Logits (B,) from text vectors (B, D), numbers of users and ads (B,), and the context (B, F)."""
        context = (context - self.center) / self.scale
        seen = torch.cat([query, answer, self.users(user), self.ads(ad), context], dim=1)  # (B, inputs)
        return self.layers(seen).squeeze(1)


def _embedding(count: int, width: int) -> nn.Embedding:
    table = nn.Embedding(count + 1, width)  # and the default
    with torch.no_grad():
        table.weight.mul_(EMBEDDING_SPREAD)
    return table


class PCTR:
    """A network with the ids it knows and the encoder it reads with: a ClickPredictor."""

    def __init__(
        self, kind: Kind, *, encoder: Encoder, text_width: int, users: Iterable[str], ads: Iterable[str], seed: int = 0
    ) -> None:
        self.kind, self.encoder, self.text_width = kind, encoder, text_width
        self.users = tuple(users) if kind.users else ()
        self.ads = tuple(ads) if kind.ads else ()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = ClickNetwork(kind, text_width=text_width, num_users=len(self.users), num_ads=len(self.ads))
        self.network.eval()
        self._user_numbers = {name: number for number, name in enumerate(self.users, 1)}
        self._ad_numbers = {name: number for number, name in enumerate(self.ads, 1)}

    @property
    def name(self) -> str:
        return self.kind.name

    def predict(self, exposures: Sequence[Exposure], *, ads: Mapping[str, Ad]) -> list[dict[str, float]]:
        """See ClickPredictor."""
        inputs = gather(exposures, ads=ads, encoder=self.encoder, kind=self.kind)
        found: list[dict[str, float]] = [{} for _ in exposures]
        for at, ad_id, chance in zip(inputs.exposure, inputs.ad_ids, self.chances(inputs), strict=True):
            found[at][ad_id] = float(chance)
        return found

    def chances(self, inputs: Inputs, rows: np.ndarray | None = None) -> np.ndarray:
        """(R,) float64: the pCTR of every row, or of the rows named."""
        rows = np.arange(len(inputs)) if rows is None else rows
        users, ads = self.numbers(inputs)
        found = np.zeros(len(rows))
        with torch.no_grad(), one_thread():
            for start in range(0, len(rows), BLOCK):
                some = rows[start : start + BLOCK]
                padded = np.pad(some, (0, BLOCK - len(some)), mode="edge")
                logits = self.network(*batch(inputs, padded, users=users[padded], ads=ads[padded]))
                found[start : start + len(some)] = torch.sigmoid(logits)[: len(some)].double().numpy()
        return found

    def numbers(self, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        """(R,) and (R,) int64: the embeddings of users and ads; UNKNOWN for those not learned."""
        users = [self._user_numbers.get(name, UNKNOWN) for name in inputs.user_ids]
        ads = [self._ad_numbers.get(name, UNKNOWN) for name in inputs.ad_ids]
        return np.array(users, np.int64), np.array(ads, np.int64)

    def grown(self, *, users: Iterable[str], ads: Iterable[str]) -> "PCTR":
        """A copy that also knows these users and ads; each begins at the default embedding."""
        known_users = tuple(dict.fromkeys((*self.users, *users)))
        known_ads = tuple(dict.fromkeys((*self.ads, *ads)))
        grown = PCTR(self.kind, encoder=self.encoder, text_width=self.text_width, users=known_users, ads=known_ads)
        state = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        for name, target in grown.network.state_dict().items():
            if (missing := len(target) - len(state[name])) > 0 and name in ("users.weight", "ads.weight"):
                state[name] = torch.cat([state[name], state[name][UNKNOWN].expand(missing, -1)])
        grown.network.load_state_dict(state)
        return grown


def batch(inputs: Inputs, rows: np.ndarray, *, users: np.ndarray, ads: np.ndarray) -> tuple[Tensor, ...]:
    """What the network takes for B of the rows, with the numbers of their users and ads (B,)."""
    return (
        torch.from_numpy(inputs.texts[inputs.query[rows]]),
        torch.from_numpy(inputs.texts[inputs.answer[rows]]),
        torch.from_numpy(users),
        torch.from_numpy(ads),
        torch.from_numpy(inputs.context[rows]),
    )


def fresh(
    kind: Kind,
    *,
    inputs: Inputs,
    rows: np.ndarray,
    users: Iterable[str],
    ads: Iterable[str],
    encoder: Encoder,
    seed: int,
) -> PCTR:
    """A pCTR that has learned nothing, its context scaled to the rows that it will learn from."""
    pctr = PCTR(kind, encoder=encoder, text_width=inputs.texts.shape[1], users=users, ads=ads, seed=seed)
    context = inputs.context[rows]
    scale = context.std(0)
    pctr.network.center.copy_(torch.from_numpy(context.mean(0)))
    pctr.network.scale.copy_(torch.from_numpy(np.where(scale > 1e-6, scale, 1).astype(np.float32)))
    return pctr
