"""Those who use the catalogue: users, how they sign in, and what programs may do in their names."""
