"""Neural-network compression for Keras: what you compress is what you get."""
