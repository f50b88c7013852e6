"""The sketch band: composes notes from the plan and plays them, with no weights and no GPU.

`score` writes the notes, `voices` and `drums` sound one note, `band` mixes them bar by bar, `backend` is the door.
Bytes must not depend on the machine: only float64 + - * / sqrt sin cos, numpy's Generator and tables are used.
"""
