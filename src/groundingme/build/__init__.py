"""Build a benchmark from your own images, a stage at a time.

    list -> source -> dedupe -> tag -> detect -> suppress -> filter -> select      pictures
         -> describe -> negatives -> verify -> publish                             targets

A stage is a function from records to records (`records.Picture`, then `records.Target`);
`pipeline` runs it over shards, and `stages` is the table of them.
"""
