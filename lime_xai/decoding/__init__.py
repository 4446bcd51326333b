"""One decoding step as data, what a policy is and needs, and the trace of what policies did."""
