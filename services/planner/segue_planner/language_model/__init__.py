"""The optional language model: the HTTP client, the request, and the checked proposal."""
