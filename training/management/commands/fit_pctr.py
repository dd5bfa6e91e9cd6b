"""`manage.py fit_pctr --run DIR --out DIR`: train a pCTR on a run's clicks, and say whether it may be trusted."""

import hashlib
import json
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.dataset.encoder import CachedEncoder, EncoderError, SentenceEncoder
from training.dataset.jsonl import DataError
from training.dataset.online import read_online
from training.management.bars import Bars
from training.simulation.catalogues import shop_ads
from training.simulation.environment import RunRefused, read_manifest, require_world
from training.simulation.world import World, read_ads, read_queries, read_world

VECTORS = "vectors.sqlite"
INPUTS = ("manifest.json", "auctions.jsonl", "responses.jsonl", "clicks.jsonl")


class Command(BaseCommand):
    help = "Train a pCTR on the clicks of a run of simulate, and report how good it is (docs/reward.md)."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--run", type=Path, required=True, help="folder of a finished run of simulate")
        parser.add_argument("--out", type=Path, required=True, help="folder of the model, its report and its plot")
        parser.add_argument("--model", choices=("pctr", "context"), default="context")
        parser.add_argument("--from", type=Path, dest="start", help="folder of an earlier model to update")
        parser.add_argument("--world", type=Path, help="the run's world, if it does not stand in the run's folder")
        parser.add_argument("--ads", type=Path, help="the run's own ads, if it was given any")
        parser.add_argument("--queries", type=Path, dest="queries_file", help="the run's own questions, if any")
        parser.add_argument("--encoder", default="", help="sentence encoder by name or folder (default: the built-in)")
        parser.add_argument("--allow-bias", action="store_true", help="keep the model even if Assumption 4.1 fails")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        try:
            from training.reward_model.fit import BiasedPCTR, FitError
            from training.reward_model.reporting import told
            from training.reward_model.saving import ModelRefused
        except ImportError as error:
            raise CommandError(f"{error}. Install the extras: pip install -e .[lab,training]") from error
        bars = Bars(shown=not options["json"])
        try:
            report, figures = self._fit(options, bars)
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped. The same command begins again; what was encoded is kept.", returncode=130
            ) from None
        except BiasedPCTR as error:
            bars.close()
            self.stdout.write(told(error.report))
            raise CommandError(
                f"{error}. No model was written; more answers help, and --allow-bias keeps it as it is."
            ) from error
        except (DataError, RunRefused, EncoderError, FitError, ModelRefused, OSError) as error:
            raise CommandError(str(error)) from error
        finally:
            bars.close()
        self.stdout.write(json.dumps(figures, ensure_ascii=False) if options["json"] else told(report))

    def _fit(self, options, bars):
        from training.reward_model.fit import BiasedPCTR, FitSettings, fit
        from training.reward_model.reporting import draw_reliability, figures
        from training.reward_model.saving import ModelRefused, load, save, write_json

        run, out, kind = options["run"], options["out"], options["model"]
        if (out / f"{kind}.json").exists():
            raise ModelRefused(f"{out} already holds a pCTR named {kind}; choose another folder.")
        world = self._world(options)
        require_world(run, world)
        queries = {query.id: query for query in world.queries}
        samples = list(read_online(run, queries=queries, profiles=world.profiles))
        out.mkdir(parents=True, exist_ok=True)
        encoder = CachedEncoder(SentenceEncoder(options["encoder"]), file=out / VECTORS)
        start = load(options["start"], kind, encoder=encoder) if options["start"] else None
        fitted, refusal = None, None
        try:
            fitted = fit(
                samples,
                kind=kind,
                ads=world.ads,
                encoder=encoder,
                settings=FitSettings(seed=options["seed"]),
                start=start,
                allow_bias=options["allow_bias"],
                progress=bars,
            )
            report = fitted.report
        except BiasedPCTR as error:
            report, refusal = error.report, error
        told = figures(report) | {"run": {name: _sha256(run / name) for name in INPUTS}}
        write_json(out / f"{kind}-report.json", told)
        draw_reliability(report.calibration, out / f"{kind}-reliability.png", title=f"{kind}, held-out users")
        if refusal is not None:
            raise refusal
        save(fitted.model, out)
        return report, told

    def _world(self, options) -> World:
        """The world named, the one in the run's folder, or one of the files named, as `simulate` chooses it."""
        run, ads_file, queries_file = options["run"], options["ads"], options["queries_file"]
        if options["world"] and (ads_file or queries_file):
            raise CommandError("--world brings its own ads and questions: leave out --ads and --queries.")
        if not queries_file:
            if ads_file:
                raise CommandError("--ads needs --queries: a run over the built-in questions holds its own world.")
            return read_world(options["world"] or run / "world")
        ads = read_ads(ads_file) if ads_file else shop_ads()
        seed = read_manifest(run)["settings"].get("seed", 0)
        profiles, queries, _ = read_queries(queries_file, seed=seed)
        return World({ad.id: ad for ad in ads}, {profile.id: profile for profile in profiles}, queries)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
