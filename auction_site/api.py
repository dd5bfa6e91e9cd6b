"""The API's table of contents, under /api/v1/. Each app's api.py says what stands there and who may see it."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny

from auction_site.tokens import LoginView, TokenLogoutView
from campaigns import api as market
from chat import api as chat

urlpatterns = [
    path("auth/login/", LoginView.as_view(), name="api_login"),
    path("auth/logout/", TokenLogoutView.as_view(), name="api_logout"),
    path("turns/", chat.TurnCreate.as_view(), name="api_turns"),
    path("turns/<uuid:turn_id>/", chat.TurnDetail.as_view(), name="api_turn"),
    path("advertisers/", market.AdvertiserList.as_view(), name="api_advertisers"),
    path("advertisers/<slug:slug>/statement/", market.StatementList.as_view(), name="api_statement"),
    path("advertisers/<slug:slug>/report/", market.advertiser_report, name="api_advertiser_report"),
    path("campaigns/", market.CampaignList.as_view(), name="api_campaigns"),
    path("ads/", market.AdList.as_view(), name="api_ads"),
    path("ads/<str:ad_id>/", market.AdDetail.as_view(), name="api_ad"),
    path("ads/<str:ad_id>/bids/", market.BidList.as_view(), name="api_bids"),
    path("report/", market.market_report, name="api_market_report"),
    path("schema/", SpectacularAPIView.as_view(permission_classes=[AllowAny]), name="schema"),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(permission_classes=[AllowAny], template_name="site/api_docs.html"),
        name="api_docs",
    ),
]
