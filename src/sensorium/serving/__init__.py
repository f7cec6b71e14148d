"""One process that serves whatever was assembled, in the wire formats that clients already speak.

HTTP request ──► checked (keys, limits) ──► a model's lane (batches) ──► HTTP response

    served.py       Served: checkpoints and indexes by name, each ready to be asked by many at once
    assistant.py, space.py, predictor.py, indexes.py   one kind of them each
    batching.py     Lane: a bounded queue, deadlines, one thread that computes what has gathered together
    settings.py     every limit of a server
    errors.py, api.py, routes/   the wire
    page/           the page in a browser

The event loop never decodes media and never computes: whatever takes longer than looking something up happens in the
thread of a lane.
"""
