"""Where new videos arrive: a folder or a bucket."""
