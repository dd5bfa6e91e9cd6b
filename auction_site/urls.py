"""Where each app's pages stand."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

admin.autodiscover()
admin.site.login = secure_admin_login(admin.site.login)  # the log-in with rate limits guards the admin too
admin.site.site_header = "LLM-Auction administration"
admin.site.site_title = "LLM-Auction"


class Favicon(RedirectView):
    """What browsers ask for where a page names no icon, as the admin's do."""

    def get_redirect_url(self, *args, **kwargs) -> str:
        return static("site/favicon.svg")


urlpatterns = [
    path("favicon.ico", Favicon.as_view()),
    path("", include("chat.urls")),
    path("", include("campaigns.urls")),
    path("training/", include("training.urls")),
    path("api/v1/", include("auction_site.api")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("", include("auction_site.health")),
]
