"""What a network is fed: batches, augmentation, normalisation."""
