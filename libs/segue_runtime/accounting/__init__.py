"""Who did what, and how much: the audit log, and the traffic of owners."""
