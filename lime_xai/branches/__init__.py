"""A second, contrastive forward pass beside the model's own."""
