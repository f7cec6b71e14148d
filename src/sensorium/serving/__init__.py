"""One process that serves whatever was assembled, in the wire formats that clients already speak.

HTTP request ──► checked (keys, limits) ──► a model's lane (batches) ──► HTTP response
"""
