"""`manage.py build_lab_model`: corpus, tokenizer and weights of the small Ad-LLM that ships with the project."""

from dataclasses import replace
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Build the lab Ad-LLM: tokenizer and weights. Minutes on a GPU (--device cuda --workers 15), most of a day on "
        "two CPU cores; --preset tiny takes seconds."
    )
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--out", type=Path, default=settings.LAB_MODEL_DIR, help="folder of the finished model")
        parser.add_argument("--work", type=Path, help="folder of the checkpoint (default: OUT with -work behind it)")
        parser.add_argument("--seed", type=int, default=7)
        parser.add_argument("--preset", choices=("tiny", "full", "again"), help="full, or again with --start")
        parser.add_argument("--start", type=Path, help="folder of a finished model to go on from, as in --preset again")
        parser.add_argument("--steps", type=int, help="of the last phase, instead of the preset's (0: no practice)")
        parser.add_argument("--words", type=int, help="steps that learn words (0 with --start: topics.md is as it was)")
        parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
        parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (the same weights only on a CPU)")
        parser.add_argument(
            "--workers", type=int, default=0, help="more processes that make batches, for a fast device"
        )
        parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")

    def handle(self, *args, **options):
        try:
            from training.lab.presets import PRESETS
            from training.lab.recipe import build
        except ImportError as error:
            raise CommandError(f"{error}. Install the lab extra: pip install -e .[lab]") from error
        if options["preset"] == "again" and not options["start"]:
            raise CommandError("--preset again goes on from a finished model: name its folder with --start")
        if options["start"] and not (options["start"] / "model.safetensors").exists():
            raise CommandError(f"There is no model in {options['start']}")
        least = 0 if options["start"] else 1
        for name in ("steps", "words"):
            if options[name] is not None and options[name] < least:
                raise CommandError(f"--{name} must be at least {least}, not {options[name]}")
        preset = PRESETS[options["preset"] or ("again" if options["start"] else "full")]
        if options["words"] is not None:
            preset = replace(preset, words=options["words"])
        if options["steps"] is not None:
            preset = replace(preset, phases=(*preset.phases[:-1], replace(preset.phases[-1], steps=options["steps"])))
        out = options["out"].resolve()
        manifest = build(
            preset=preset,
            seed=options["seed"],
            out=out,
            work=options["work"] or out.with_name(out.name + "-work"),
            resume=options["resume"],
            start=options["start"],
            threads=options["threads"],
            device=options["device"],
            workers=options["workers"],
        )
        self.stdout.write(f"Built {manifest['parameters']} parameters in {manifest['steps']} steps: {out}")
