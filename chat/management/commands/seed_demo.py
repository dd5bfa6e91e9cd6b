"""Load the demo: advertisers with play money, people who log in, visitor profiles, models. Safe to run again."""

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from campaigns.models import Ad, Advertiser
from campaigns.seeding import DEMO_PASSWORD, SeedRefused, seed_market
from chat import registry
from chat.seeding import seed_profiles


class Command(BaseCommand):
    help = __doc__

    @transaction.atomic
    def handle(self, *args, **options) -> None:
        try:
            logins = seed_market()
        except SeedRefused as refusal:
            raise CommandError(str(refusal)) from None
        seed_profiles()
        registry.register_shipped()
        self.stdout.write(
            f"  The demo market: {Advertiser.objects.count()} advertisers, {Ad.objects.count()} ads, play money.\n"
            f'  Log-ins, all with the password "{DEMO_PASSWORD}":'
        )
        for login in logins:
            self.stdout.write(f"    {login.username:<12} {login.purpose}")
