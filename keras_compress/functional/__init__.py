"""The science: arrays in, arrays out, no state; every formula with its source."""
