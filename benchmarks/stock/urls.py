"""POST /login/ for a token, POST /messages/ with it, POST /bare/ without."""

from __future__ import annotations

from django.urls import path
from rest_framework_simplejwt.views import TokenObtainPairView

from benchmarks.stock.views import MessagesView, bare

urlpatterns = [
    path("login/", TokenObtainPairView.as_view()),
    path("messages/", MessagesView.as_view()),
    path("bare/", bare),
]
