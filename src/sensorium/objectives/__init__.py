"""(model, batch) -> dict of named scalar losses, whose sum is the total; one file an objective.

info_nce.py: softmax over the rows of the batch. siglip.py: a yes or no for each pair of rows.
supervised.py: the labels of tasks, and terms on the same pass: consistency.py, pseudo_labels.py, column_contrast.py
(no labels), modality_balance.py. uncertainty.py: tasks that weigh themselves. class_weights.py: rare labels.
masked_patches.py: hidden patches of a picture. nt_xent.py: two views of a picture among all others.
canonical_correlation.py: no gradient at all; features -> affine maps, in closed form.
"""

from sensorium.objectives.canonical_correlation import Alignment, align
from sensorium.objectives.info_nce import InfoNCE
from sensorium.objectives.siglip import SigLIP

__all__ = ["Alignment", "InfoNCE", "SigLIP", "align"]
