"""What policies cost: time and peak memory of a generated token, in those of the plain model."""
