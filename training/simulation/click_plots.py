"""The pictures of docs/simulation.md: each effect of the behavioural user, as its parameters make it."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from training.simulation.user import UserParameters

NEUTRAL = np.array([np.nan])


def draw_all(*, parameters: UserParameters, similarities: Mapping[str, np.ndarray], folder: Path) -> list[Path]:
    """Write clicks-relevance, -nativeness, -competition and -flooding as PNG; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, draw in (
        ("relevance", lambda axes: _relevance(axes, parameters, similarities)),
        ("nativeness", lambda axes: _nativeness(axes, parameters)),
        ("competition", lambda axes: _competition(axes, parameters)),
        ("flooding", lambda axes: _flooding(axes, parameters)),
    ):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        draw(axes)
        for one in axes:
            one.spines[["top", "right"]].set_visible(False)
        drawn.append(folder / f"clicks-{name}.png")
        # No date and no version inside: the same figure is the same file.
        figure.savefig(drawn[-1], dpi=110, metadata={"Software": None})
        plt.close(figure)
    return drawn


def _relevance(axes: list[Axes], par: UserParameters, similarities: Mapping[str, np.ndarray]) -> None:
    x = np.linspace(-0.2, 0.7, 200)
    bins = np.linspace(-0.2, 0.7, 46)
    for name, colour in (("query, off topic", "tab:gray"), ("query, on topic", "tab:green")):
        axes[0].hist(similarities[name], bins, density=True, alpha=0.5, color=colour, label=name.split(", ")[1])
    axes[0].set(xlabel="cosine of ad and query", ylabel="density", title="Ads and questions as they are")
    axes[0].legend(frameon=False)
    for interest, style in ((0.1, ":"), (None, "-"), (0.45, "--")):
        profile = NEUTRAL if interest is None else np.array([interest])
        label = "profile unknown" if interest is None else f"best interest at {interest}"
        axes[1].plot(x, par.relevance(query=x, profile=profile), style, color="tab:green", label=label)
    axes[1].set(xlabel="cosine of ad and query", ylabel="relevance", title="What the user makes of it", ylim=(0, 1.02))
    axes[1].legend(frameon=False)


def _nativeness(axes: list[Axes], par: UserParameters) -> None:
    fit = np.linspace(-0.1, 0.6, 200)
    for inside, pushy, label, style in (
        (True, False, "in the body", "-"),
        (False, False, "after the close", "--"),
        (True, True, "in the body, pushy", "-."),
        (False, True, "after the close, pushy", ":"),
    ):
        values = par.nativeness(fit=fit, inside=np.array(inside), pushy=np.array(pushy))
        axes[0].plot(fit, values, style, color="tab:blue", label=label)
        at = par.base * par.nativeness(fit=np.array([0.35]), inside=np.array([inside]), pushy=np.array([pushy]))[0]
        axes[1].barh(label, at, color="tab:blue", alpha=0.7)
    axes[0].set(xlabel="cosine with the neighbouring sentence", ylabel="nativeness", ylim=(0, 1.5))
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    axes[1].invert_yaxis()
    axes[1].set(xlabel="ctr of a relevant ad alone, cosine 0.35")


def _competition(axes: list[Axes], par: UserParameters) -> None:
    other = np.linspace(0, 0.7, 100)
    for own, colour in ((0.6, "tab:red"), (0.4, "tab:orange"), (0.2, "tab:gray")):
        values = [par.choice(np.array([own, x]))[0] for x in other]
        axes[0].plot(other, values, color=colour, label=f"ctr {own} when alone")
    axes[0].set(xlabel="what the similar ad would have alone", ylabel="ctr", title="One similar ad", ylim=(0, 0.7))
    axes[0].legend(frameon=False)
    count = np.arange(1, 5)
    each = np.array([par.choice(np.full(n, 0.5))[0] for n in count])
    axes[1].bar(count - 0.18, each, 0.36, color="tab:orange", label="each")
    axes[1].bar(count + 0.18, each * count, 0.36, color="tab:gray", label="all together")
    axes[1].set(
        xlabel="similar ads, each 0.5 alone", ylabel="ctr", title="Before flooding", xticks=count, ylim=(0, 0.7)
    )
    axes[1].legend(frameon=False)


def _flooding(axes: list[Axes], par: UserParameters) -> None:
    count = np.arange(1, 8)
    axes[0].bar(count, [par.patience(n_ads=int(n), ad_talk=0.0) for n in count], color="tab:purple", alpha=0.7)
    axes[0].set(xlabel="ads in the answer", ylabel="share of users who do not give up", xticks=count)
    share = np.linspace(0, 1, 100)
    axes[1].plot(share, [par.patience(n_ads=1, ad_talk=float(x)) for x in share], color="tab:purple")
    axes[1].set(xlabel="share of the answer's words that are ad talk", ylim=(0, 1.02))
