"""Files that people have -> `Sample` -> `Batch`, or the cached `Features` of frozen encoders.

readers/          folder, JSONL, CSV, Parquet, WebDataset tar, Hugging Face datasets -> samples
sample.py         what one record, a batch of them and one of its columns are
batch.py          samples + encoders -> batch
feature_cache.py  media + frozen encoder -> features, computed once and memory-mapped afterwards
                  (feature_filling.py computes what is missing, feature_shards.py keeps it on disk)
quarantine.py     media that cannot be decoded: a list with reasons, and a limit
bundled.py        the two data sets that come along
"""
