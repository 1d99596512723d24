"""The test bed: many hosts of one cloud on one machine. See tools/README.md."""
