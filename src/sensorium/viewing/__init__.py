"""what a run measured and found -> one HTML page, one PNG figure

report.py          write(path, …): the page, of the sections below
score_table.py     scores as bars with intervals, blind and closed-form marks
generated_table.py scores of generated text beside their blind baselines and the nearest copy
examples.py        Examples: questions about pictures, the right answer, the model's, the blind one
gallery.py         Search, Gallery: queries and the pictures that they found
maps.py            Map: embeddings in two dimensions, with thumbnails (projection.py: PCA, LDA, MDS or UMAP)
scatter.py         save(path, vectors, labels): the same vectors by each of these methods, as one PNG
gaps.py            Gap: two modalities in one space, and how far apart they lie
attention_maps.py  where attention looked: over a picture's patches, over a sound's time
curves.py          losses and scores over the steps of a run
conflict.py        whether the gradients of several tasks agree, as one PNG
comparison.py      ways of fusing side by side: scores, missing columns, Shapley values; comparison_table.py: the table
gates.py           how much a fusion takes of each column: in single rows, in all, by label
reconstructions.py pictures, what was seen of them and what was made of it, as one PNG
page.py            the frame: style, script, security policy; svg.py: axes and marks; inline.py: data URIs
figure.py          save(path, searches): the gallery as one PNG; attention_figure.py: the same of attention maps

Everything is drawn from arrays and plain numbers. The page requests nothing: it works offline, and a caption
that holds HTML is shown as the text that it is.
"""
