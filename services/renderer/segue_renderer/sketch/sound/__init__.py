"""Turns notes into sound: voices, drums, background noise, transitions, reverb, echo and the loudness of each bar."""
