"""Files that people have -> `Sample` -> `Batch` or `TokenBatch`, or the cached `Features` of frozen encoders.

readers/          folder, JSONL, CSV, Parquet, WebDataset tar, Hugging Face datasets, conversations -> samples
sample.py         what one record, a batch of them and one of its columns are
batch.py          samples + encoders -> batch
feature_cache.py  media + frozen encoder -> features, computed once and memory-mapped afterwards
                  (feature_filling.py computes what is missing, feature_shards.py keeps it on disk)
conversation.py   messages -> token ids, what is supervised, places of media (templates.py takes the tokenizer's
                  chat template apart)
packing.py        rendered conversations -> rows that share the beginnings they have in common; labels shifted
conversation_batch.py  samples with messages + renderer + encoders -> token batch
tokens.py         what a token batch is
quarantine.py     media that cannot be decoded: a list with reasons, and a limit
augment.py        batches of prepared pictures cropped, mirrored, in other light; two views of each
bundled.py        the two data sets that come along
"""
