"""The loop's pages, under /training/. All are for staff."""

from django.urls import path

from training import views

urlpatterns = [
    path("", views.home, name="training"),
    path("irpo/", views.irpo, name="training_irpo"),
    path("evaluation/", views.evaluation, name="training_evaluation"),
    path("runs/", views.run_list, name="training_runs"),
    path("runs/<int:run_id>/", views.run, name="training_run"),
    path("runs/<int:run_id>/cancel/", views.run_cancel, name="training_run_cancel"),
    path("runs/<int:run_id>/resume/", views.run_resume, name="training_run_resume"),
    path("runs/<int:run_id>/register/", views.run_register, name="training_run_register"),
    path("runs/<int:run_id>/chart.json", views.run_chart, name="training_run_chart"),
    path("runs/<int:run_id>/files/<path:name>", views.run_file, name="training_run_file"),
]
