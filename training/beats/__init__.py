"""The beat network's material, training and record; no part of the product imports it."""
