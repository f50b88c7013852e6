"""Prints the mean tag probabilities of WAV files by musicnn's MTT network, one JSON object a line.

It runs in an environment of its own, with tensorflow-cpu 2.15, librosa below 0.11, numpy below 2 and musicnn 0.1.0,
which is under the ISC licence. It imports nothing of this project: `judge` starts it.
Input: the paths, one in each line of standard input.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
WINDOW_S = 3


def main() -> None:
    """Open the network once, and tag every file."""
    import librosa
    import musicnn
    import numpy as np
    import tensorflow as tf
    from musicnn import configuration, models
    from musicnn.extractor import batch_data

    frames = int(
        librosa.time_to_frames(
            WINDOW_S, sr=configuration.SR, n_fft=configuration.FFT_SIZE, hop_length=configuration.FFT_HOP
        )
        + 1
    )
    v1: Any = tf.compat.v1
    with tf.name_scope("model"):
        spectrogram = v1.placeholder(tf.float32, [None, frames, configuration.N_MELS])
        is_training = v1.placeholder(tf.bool)
        tags = tf.nn.sigmoid(
            models.define_model(spectrogram, is_training, "MTT_musicnn", len(configuration.MTT_LABELS))[0]
        )
    with v1.Session() as session:
        v1.train.Saver().restore(session, f"{Path(musicnn.__file__).parent}/MTT_musicnn/")
        for line in sys.stdin:
            patches, _ = batch_data(line.strip(), frames, frames)
            found = session.run(tags, feed_dict={spectrogram: patches, is_training: False})
            means = np.mean(found, axis=0).tolist()
            print(json.dumps(dict(zip(configuration.MTT_LABELS, means, strict=True))), flush=True)


if __name__ == "__main__":
    main()
