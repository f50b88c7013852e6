"""The analyzer service: measures audio and compares it with a plan."""
