"""The market's pages: the click route, the advertiser's pages, the analyst's pages."""

from django.urls import path

from campaigns import views_advertiser, views_analyst

urlpatterns = [
    path("advertiser/", views_advertiser.home, name="advertiser"),
    path("analytics/", views_analyst.home, name="analyst"),
]

try:
    from campaigns import clicks
except ImportError:
    clicks = None
if clicks:
    urlpatterns.append(path("c/<str:token>", clicks.click, name="click"))
