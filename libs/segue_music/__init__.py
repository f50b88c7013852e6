"""Music without a service around it: the plan's words, keys and chords, metre, tempo and frames.

`elements` and `plan` have the words (one dataclass for each message of the contract), `codec` turns them into protobuf
and canonical JSON and back, `theory` knows keys, scales and chords, `timing` turns bars and ticks into frames.
"""
