"""The draft: places sections on the timeline, joins them and scores each join."""
