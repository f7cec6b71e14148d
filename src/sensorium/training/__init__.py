"""`Run -> Trained`: one loop, its preflight, its optimiser and its checkpoints.

    recipe(**options) -> Run -> fit(run) -> Trained
                                 │
        data, preflight, model, optimiser, resume, step, log, save, evaluate

The modules are imported by name (`from sensorium.training.loop import fit`), so that importing this room
costs nothing:
`run.Run`, `loop.fit`, `preflight.preflight`, `checkpoint.load_weights`, `adaptation.freeze`.
"""
