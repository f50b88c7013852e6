"""Music as data, without a service: plans and their elements, keys and chords, time in bars, ticks and frames.

`elements` and `plan` have one dataclass for each message of the contract; `codec` converts them to protobuf and
canonical JSON and back; `theory` has keys, scales and chords; `timing` converts bars and ticks to frames; `singing`
divides words into syllables; `midi`, `lrc` and `picture` show a plan as a MIDI file, as an LRC file and as text.
"""
