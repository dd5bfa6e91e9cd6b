"""The chat's addresses. All are public; each view checks that what it shows belongs to the visitor who asks."""

from django.urls import path

from chat import views, views_ads, views_panel, views_stream, views_traffic

urlpatterns = [
    path("", views.home, name="home"),
    path("chat/profile/", views.visitor_profile, name="visitor_profile"),
    path("chat/model/", views.model_version, name="model_version"),
    path("chat/turns/", views.turn_create, name="turn_create"),
    path("chat/turns/<uuid:turn_id>/", views.turn, name="turn"),
    path("chat/turns/<uuid:turn_id>/stream/", views_stream.turn_stream, name="turn_stream"),
    path("chat/turns/<uuid:turn_id>/stop/", views.turn_stop, name="turn_stop"),
    path("chat/turns/<uuid:turn_id>/retry/", views.turn_retry, name="turn_retry"),
    path("chat/turns/<uuid:turn_id>/panel/", views_panel.turn_panel, name="turn_panel"),
    path("chat/turns/<uuid:turn_id>/ads/<str:ad_id>/hide/", views_ads.ad_hide, name="ad_hide"),
    path("chat/turns/<uuid:turn_id>/ads/<str:ad_id>/report/", views_ads.ad_report, name="ad_report"),
    path("chat/traffic/", views_traffic.simulate_traffic, name="simulate_traffic"),
    path("chat/traffic/<int:run_id>/cancel/", views_traffic.cancel_traffic, name="cancel_traffic"),
    path("chat/<uuid:conversation_id>/", views.conversation, name="conversation"),
]
