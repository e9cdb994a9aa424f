"""The books themselves: what one is, its rules, and the catalogue that holds them."""
