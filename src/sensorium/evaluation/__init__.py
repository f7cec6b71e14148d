"""vectors and right answers -> `Score`s: value, 95 % interval, blind baseline, chance, closed form
generated and right texts -> `GeneratedScore`s: value, 95 % interval, what it gets without looking

scores.py        Score, the bootstrap, the printed table, metrics.json
retrieval.py     R@k, median rank, MRR, both ways between every pair of columns
zero_shot.py     classification by prompts: top-k and per-class accuracy
modality_gap.py  how far apart the modalities lie in the shared space
generated.py     GeneratedScore: a score on generated text with all its baselines; the table; reading it back
answers.py       exact match and VQA accuracy, in all and for each kind of question
captions.py      BLEU, METEOR, ROUGE-L, CIDEr
transcription.py WER, CER
perplexity.py    perplexity and accuracy over the tokens of texts, and a unigram model to stand beside
blind.py         answers without looking: media withheld or shuffled, majority, nearest copy, names only
drop_one.py      what each modality of a fused query, or of a conversation, contributes
predictions.py   answers to tasks: accuracy, F1, mAP, MAE, Pearson, IoU; blind and drop-one numbers beside them
repeats.py       intervals over rows and over repeated trainings at once
shapley.py       what each column contributes to a score, from the score of every subset of columns

Everything here sees arrays and texts only: no model, no media, no torch. predictions.py alone runs the model that it
is handed, and reads the tensors that come out.
"""

from sensorium.evaluation.generated import GeneratedScore
from sensorium.evaluation.scores import Score

__all__ = ["GeneratedScore", "Score"]
