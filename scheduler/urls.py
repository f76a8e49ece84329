"""Where each address leads."""
from django.urls import path
urlpatterns: list = []
