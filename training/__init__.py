"""Programs for developers that make what the product ships: trained weights."""
