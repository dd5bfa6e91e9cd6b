"""The market's pages: the click route, the advertiser's pages, the analyst's pages."""

from django.urls import include, path

from campaigns import clicks, views_ads, views_advertiser, views_analyst

advertiser_urls = [
    path("", views_advertiser.ads, name="advertiser_ads"),
    path("ads.csv", views_advertiser.ads_csv, name="advertiser_ads_csv"),
    path("statement/", views_advertiser.statement, name="statement"),
    path("statement.csv", views_advertiser.statement_csv, name="statement_csv"),
    path("ads/new/", views_ads.ad_new, name="ad_new"),
    path("ads/<str:public_id>/", views_ads.ad_edit, name="ad_edit"),
    path("ads/<str:public_id>/bid/", views_ads.ad_bid, name="ad_bid"),
    path("ads/<str:public_id>/bids/", views_ads.ad_bids, name="ad_bids"),
    path("ads/<str:public_id>/status/", views_ads.ad_status, name="ad_status"),
    path("campaigns/new/", views_ads.campaign_new, name="campaign_new"),
    path("campaigns/<int:pk>/", views_ads.campaign_budgets, name="campaign_budgets"),
    path("campaigns/<int:pk>/status/", views_ads.campaign_status, name="campaign_status"),
]

analyst_urls = [
    path("", views_analyst.home, name="analyst"),
    path("charts/<slug:chart>.json", views_analyst.chart_json, name="analyst_chart_json"),
    path("charts/<slug:chart>.csv", views_analyst.chart_csv, name="analyst_chart_csv"),
]

urlpatterns = [
    path("c/<str:token>", clicks.click, name="click"),
    path("advertiser/", views_advertiser.home, name="advertiser"),
    path("advertiser/<slug:slug>/", include(advertiser_urls)),
    path("analytics/", include(analyst_urls)),
]
