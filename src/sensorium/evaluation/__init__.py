"""vectors and right answers -> `Score`s: value, 95 % interval, blind baseline, chance, closed form.

scores.py        Score, the bootstrap, the printed table, metrics.json
retrieval.py     R@k, median rank, MRR, both ways between every pair of columns
zero_shot.py     classification by prompts: top-k and per-class accuracy
modality_gap.py  how far apart the modalities lie in the shared space
drop_one.py      what each modality of a fused query contributes

Everything here sees arrays only: no model, no media, no torch.
"""

from sensorium.evaluation.scores import Score

__all__ = ["Score"]
