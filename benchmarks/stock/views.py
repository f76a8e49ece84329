"""The same insert twice: behind a ModelSerializer and a bearer token, and by itself."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.generics import CreateAPIView
from rest_framework.serializers import BaseSerializer, ModelSerializer

from benchmarks.stock.models import Message


class MessageSerializer(ModelSerializer[Message]):
    class Meta:
        model = Message
        fields = ("id", "type", "payload", "status", "created_at")
        read_only_fields = ("status", "created_at")


class MessagesView(CreateAPIView[Message]):
    queryset = Message.objects.all()
    serializer_class = MessageSerializer

    def perform_create(self, serializer: BaseSerializer[Message]) -> None:
        serializer.save(owner=self.request.user)


@csrf_exempt
def bare(request: HttpRequest) -> JsonResponse:
    body: dict[str, Any] = json.loads(request.body)
    message = Message.objects.create(owner_id=1, type=body["type"], payload=body["payload"])
    return JsonResponse({"id": message.pk, "status": message.status}, status=202)
