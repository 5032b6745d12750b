"""The instruments of `make bench`; scripts/bench is their command line."""
