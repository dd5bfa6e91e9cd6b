"""A fit's report as lines to read, and as a reliability plot."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.reward_model.calibration import Calibration
from training.reward_model.fit import FitReport


def told(report: FitReport) -> str:
    """The report as lines to read."""
    found = report.calibration
    worst = sorted((g for g in found.groups if g.z is not None), key=lambda g: -abs(g.bias))
    lines = [
        f"{report.model} over {report.encoder}, {'an earlier model updated' if report.warm else 'from nothing'}:"
        f" {report.epochs} epochs, the best was {report.best_epoch}",
        "shown ads (profiles) to "
        + ", ".join(f"{part} {report.rows[part]} ({report.profiles[part]})" for part in report.rows),
        f"AUC {_figure(report.auc)}; log loss {report.log_loss:.4f},"
        f" {report.log_loss / report.base_log_loss:.3f} of that of the base rate {report.base_rate:.3f}",
        *(
            [
                f"the user's own chances: AUC {_figure(report.true_auc)}, log loss"
                f" {report.true_log_loss / report.base_log_loss:.3f} of that of the base rate"
            ]
            if report.true_log_loss is not None
            else []
        ),
        f"calibration error (ECE) {found.ece:.4f}",
        "",
        "  pCTR from      to     ads   mean     CTR",
        *(
            f"  {one.lowest:9.4f} {one.highest:7.4f} {one.count:7d} {one.predicted:6.4f} {one.observed:7.4f}"
            for one in found.bins
        ),
        "",
        f"  {'group':<20} {'ads':>6} {'pCTR':>7} {'CTR':>7} {'z':>7} {'adj. p':>8}",
    ]
    shown = [g for g in found.groups if g.by != "ad"] + [g for g in worst if g.by == "ad"][:5]
    lines += [
        f"  {group.by + ' ' + group.name:<20} {group.count:6d} {group.predicted:7.4f} {group.observed:7.4f}"
        + (" too few to test" if group.z is None else f" {group.z:7.2f} {group.adjusted_p:8.4f}")
        + (" BIASED" if group.biased else "")
        for group in shown
    ]
    tested = sum(group.z is not None for group in found.groups)
    lines += [
        f"  of {tested} groups tested, {len(found.biased)} biased: Assumption 4.1 "
        + ("holds, as far as these clicks tell" if found.holds else "FAILS"),
    ]
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def figures(report: FitReport) -> dict[str, Any]:
    """The report as one JSON object."""
    biased = [f"{group.by} {group.name}" for group in report.calibration.biased]
    return asdict(report) | {"assumption_4_1_holds": report.calibration.holds, "biased": biased}


def draw_reliability(found: Calibration, path: Path, *, title: str) -> None:
    """Mean pCTR against CTR by tenths, with two standard errors, and every tested group's bias against its size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    predicted, observed = [one.predicted for one in found.bins], [one.observed for one in found.bins]
    errors = [2 * (one.observed * (1 - one.observed) / one.count) ** 0.5 for one in found.bins]
    most = 1.05 * max(0.05, *predicted, *(rate + error for rate, error in zip(observed, errors, strict=True)))
    left.plot([0, most], [0, most], ":", color="tab:gray")
    left.errorbar(predicted, observed, errors, fmt="o", color="tab:blue", capsize=2)
    left.set(xlabel="mean pCTR of a tenth", ylabel="CTR", xlim=(0, most), ylim=(0, most), title=title)
    for by, colour in (("ad", "tab:green"), ("bid", "tab:orange"), ("position", "tab:red"), ("all", "black")):
        tested = [group for group in found.groups if group.by == by and group.z is not None]
        right.plot([g.count for g in tested], [g.bias for g in tested], "o", color=colour, label=by, markersize=4)
    right.axhline(0, linestyle=":", color="tab:gray")
    right.set(xlabel="shown ads in the group", ylabel="mean pCTR - CTR", xscale="log", title="Calibration in the large")
    right.legend(frameon=False, fontsize=8)
    for one in (left, right):
        one.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".part")
    figure.savefig(scratch, dpi=110, format="png", metadata={"Software": None})  # the same figure is the same file
    plt.close(figure)
    scratch.replace(path)
