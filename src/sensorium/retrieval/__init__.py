"""files | Samples -> model -> table of vectors -> search by words, picture, sound, clip or vector -> Hits

index.py        Index: create, open, add, delete, search, stats
query.py        what a search asks: media or a vector, and a condition on columns
nearest.py      the rows nearest to vectors, one or many in one pass
rows.py         rows of the table: its own columns, and those that samples bring
items.py        what can be added: files and samples seen as single items of one modality
loading.py      hashing and decoding beside the encoder, in threads, within a memory budget
approximate.py  IVF-PQ beyond a size, with its recall against exact search
set_aside.py    bad files, their reasons, and how many are too many
"""
