"""The access questions for the navigation, and who can log in to a demo. A page without a user has no roles."""

from django import template

from campaigns import access, seeding

register = template.Library()


@register.filter
def is_advertiser(user) -> bool:
    return bool(user) and access.is_advertiser(user)


@register.filter
def is_analyst(user) -> bool:
    return bool(user) and access.is_analyst(user)


@register.simple_tag
def demo_logins() -> list[seeding.Login]:
    return seeding.demo_logins()
