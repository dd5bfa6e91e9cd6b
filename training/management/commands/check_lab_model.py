"""`manage.py check_lab_model`: does the lab Ad-LLM copy markers, keep to the topic and answer in time?"""

import json
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Measure the lab Ad-LLM on held-out questions and unseen ads, guided as the site serves it, and left free; "
        "exit status 1 when a target is missed as served."
    )
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--model", type=Path, default=settings.LAB_MODEL_DIR)
        parser.add_argument("--questions", type=int, default=200)
        parser.add_argument("--candidates", type=int, default=100)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
        parser.add_argument("--serve", action="store_true", help="also ask ten questions through `transformers serve`")
        parser.add_argument("--port", type=int, default=8765, help="of that server")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        try:
            import torch

            from training.lab import check
            from training.simulation.transformers_sampler import TransformersSampler
        except ImportError as error:
            raise CommandError(f"{error}. Install the lab extra: pip install -e .[lab]") from error
        if not (options["model"] / "model.safetensors").exists():
            raise CommandError(f"There is no model in {options['model']}. Build one: manage.py build_lab_model")
        if options["threads"]:
            torch.set_num_threads(options["threads"])
        cases = check.make_cases(count=options["questions"], seed=options["seed"], candidates=options["candidates"])
        sampler = TransformersSampler(options["model"], device="cpu")
        judged = []
        for guided in (True, False):
            texts = []
            for text in check.write_answers(sampler=sampler, cases=cases, guided=guided, seed=options["seed"]):
                texts.append(text)
                if len(texts) % 50 == 0:
                    self.stderr.write(f"{'guided' if guided else 'free'}: {len(texts)} of {len(cases)} answers")
            judged.append(check.judge(cases=cases, texts=texts))
        others = check.make_other_cases(count=max(1, options["questions"] // 4), seed=options["seed"])
        texts = list(check.write_answers(sampler=sampler, cases=others, guided=True, seed=options["seed"]))
        judged[0]["other_subjects_declined"] = check.declined(cases=others, texts=texts)
        model, tok = check.load_model(options["model"], guided=True)
        figures = judged[0] | check.time_answers(model=model, tok=tok, cases=cases[:8]) | {"free": judged[1]}
        if options["serve"]:
            with check.served(options["model"], port=options["port"]) as base_url:
                answers, seconds = check.ask_server(base_url=base_url, model=options["model"], cases=cases[:11])
            figures["served"] = check.judge(cases=cases[:11], texts=answers) | seconds
        if options["json"]:
            self.stdout.write(json.dumps(figures))
        else:
            self.stdout.write("\n".join(f"{name}: {value}" for name, value in figures.items()))
        if problems := check.missed(figures):
            raise CommandError("; ".join(problems), returncode=1)
