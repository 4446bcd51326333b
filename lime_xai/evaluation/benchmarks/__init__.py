"""Published benchmarks: their official files are read, their answers parsed and measured by the published rules."""
