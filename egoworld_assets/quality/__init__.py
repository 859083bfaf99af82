"""What is checked of an artifact before anything is made of it, and how far the sample is from its truth."""
