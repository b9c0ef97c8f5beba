"""Where each address leads."""

from django.contrib import admin
from django.urls import include, path
from django.views import defaults

from alerts import menu
from forecasting import advice_page, clusters_page, experiment_page, propose_page, routing_page
from mlops import life_page, review_page
from shelfops import api_errors, chosen, run_page
from shelfops.own_pages import own_scripts_only

urlpatterns = [
    path("", admin.site.admin_view(admin.site.index), name="home"),
    path("customer", admin.site.admin_view(chosen.choose), name="choose_customer"),
    path("alerts/menu", admin.site.admin_view(menu.show), name="alerts_menu"),
    path("runs/<int:run_id>", run_page.view, name="run"),
    path("segments/clusters", clusters_page.view, name="store_clusters"),
    path("segments/advice", advice_page.view, name="segment_advice"),
    path("experiments/propose", propose_page.view, name="propose_experiment"),
    path("experiments/<uuid:experiment_id>/results", experiment_page.view, name="experiment"),
    path("routing", routing_page.view, name="routing"),
    path("models/review/<str:version>", review_page.view, name="review"),
    path("models/<str:version>", life_page.view, name="version"),
    path("admin/", admin.site.urls),
    path("api/", include("shelfops.api")),
]
handler400 = api_errors.bad_request
handler403 = own_scripts_only(defaults.permission_denied)
handler404 = api_errors.page_not_found
handler500 = api_errors.server_error
