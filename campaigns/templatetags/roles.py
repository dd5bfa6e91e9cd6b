"""The access questions as template filters, for the navigation. A page without a user (an error page) has no roles."""

from django import template

from campaigns import access

register = template.Library()


@register.filter
def is_advertiser(user) -> bool:
    return bool(user) and access.is_advertiser(user)


@register.filter
def is_analyst(user) -> bool:
    return bool(user) and access.is_analyst(user)
