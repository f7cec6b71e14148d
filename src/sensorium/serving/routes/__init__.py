"""The addresses of a server, a file for each thing that can be asked.

/v1/models | /v1/chat/completions | /v1/embeddings | /v1/audio/transcriptions | /v1/classify | /v1/search | /v1/index…
/healthz | /readyz | /metrics | /docs
"""
