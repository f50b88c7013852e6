"""The sketch band: a renderer that composes notes from the plan and synthesises them, without weights or a GPU.

`backend` answers requests, `band` mixes a section in blocks, `score` writes the notes, `sound` synthesises them, and
`tables` holds the data of voices, kits and styles. The bytes must not depend on the machine: only float64
+ - * / sqrt sin cos, numpy's Generator and tables are used.
"""
