"""A server's models and indexes from another process or machine, with the methods that `sensorium.load` gives here.

Client(url).ask(…) ──httpx──► POST /v1/chat/completions ──► str | pieces

Needs neither torch nor the models: only the bytes of media travel. Any OpenAI client works, too (docs/serving.md).
"""

from sensorium.client.answers import RemoteHit, RemotePrediction, ServerError
from sensorium.client.chat import RemoteChat
from sensorium.client.remote import Client

__all__ = ["Client", "RemoteChat", "RemoteHit", "RemotePrediction", "ServerError"]
