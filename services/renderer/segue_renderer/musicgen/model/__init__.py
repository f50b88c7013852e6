"""The networks: text encoder, decoder with static caches, codec; plain torch, no policy."""
