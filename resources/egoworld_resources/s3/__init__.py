"""One S3 server: addresses, buckets, objects."""
