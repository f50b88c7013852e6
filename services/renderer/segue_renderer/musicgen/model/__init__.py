"""The networks in plain torch: tokenizer, text encoder, decoder with static caches, sampling, codec, chroma."""
