"""The word list: words and phrases of prompts, what they mean, and the search for them."""
