"""The renderer pool as a conductor sees it: its members, their offers, and leases of their slots."""
