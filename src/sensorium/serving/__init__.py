"""One process that serves whatever was assembled, in the wire formats that clients already speak.

HTTP request ──► checked (keys, limits) ──► a model's lane (batches) ──► HTTP response

The process:      run.py (listens, drains), settings.py (every limit)
Who may ask:      door.py (names, keys), keys.py, body.py (bytes, seconds, values), refused.py
What comes in:    wire.py (JSON), things.py, intake.py (parts -> bytes, checked), urls.py, filters.py
What answers:     api.py and routes/, posted.py (a route that takes JSON), answers.py (JSON), waiting.py (no longer
                  than a client does), jobs.py (additions), errors.py, metrics.py
What computes:    served.py (all by name), batching.py (Lane: a bounded queue and one thread a model), opening.py;
                  assistant.py, space.py, predictor.py, indexes.py: one kind each
For people:       page/

The event loop never decodes media and never runs a model: that happens in the thread of a lane.
"""
